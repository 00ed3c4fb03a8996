// How much of this thread's stack is left. Recursion over what people nest is bounded by asking, not by counting:
// threads have stacks of half a megabyte or of eight.
#pragma once

namespace espalier {

void need_stack();  // throws GrammarError if there may be too little for another level

}  // namespace espalier
