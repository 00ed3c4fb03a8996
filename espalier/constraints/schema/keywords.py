"""The keywords of JSON Schema, by what stands under them."""

from __future__ import annotations

MAPS = {"properties", "patternProperties", "$defs", "definitions", "dependentSchemas"}
LISTS = {"allOf", "anyOf", "oneOf", "prefixItems"}
ONES = {"additionalItems", "unevaluatedItems", "unevaluatedProperties", "contains", "propertyNames", "additionalProperties"}
ONES |= {"not", "if", "then", "else"}
PLAIN = {"type", "enum", "const", "required", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "minLength"}
PLAIN |= {"maxLength", "pattern", "minItems", "maxItems", "minContains", "maxContains", "minProperties", "maxProperties"}
PLAIN |= {"dependentRequired", "$ref", "$dynamicRef", "$recursiveRef", "$id", "$anchor", "$dynamicAnchor", "$schema"}
PLAIN |= {"items", "dependencies", "multipleOf", "divisibleBy", "uniqueItems", "$recursiveAnchor", "$vocabulary", "id"}
ANNOTATIONS = {"title", "description", "default", "examples", "deprecated", "readOnly", "writeOnly", "discriminator"}
KEYWORDS = MAPS | LISTS | ONES | PLAIN | ANNOTATIONS | {"format", "contentEncoding", "contentMediaType", "contentSchema"}
