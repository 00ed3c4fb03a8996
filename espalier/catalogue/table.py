"""The lines of the catalogue. One line makes a method reachable from `lm.generate`, the command line and the law tests."""

# kind | name | where | example arguments | what it needs, as its first arguments
TABLE = """
drafter  | auto        | drafting:Auto
drafter  | lookup      | drafting:PromptLookup
drafter  | recycling   | drafting:TokenRecycling
drafter  | cache       | drafting:NGramCache
drafter  | cascade     | drafting.compose:lookup_then_recycling
drafter  | fuse        | drafting.compose:lookup_and_recycling
drafter  | lookahead   | drafting:Lookahead
drafter  | jacobi      | drafting:Jacobi
drafter  | gauss_seidel | drafting:gauss_seidel
drafter  | hybrid      | drafting:hybrid
drafter  | speculative_jacobi | drafting:SpeculativeJacobi
drafter  | aggressive  | drafting:Aggressive
drafter  | hierarchy   | drafting:Hierarchy
drafter  | aded        | drafting:ADED
drafter  | dresd       | drafting:DReSD
drafter  | stand       | drafting:STAND          |            | vocab_size
drafter  | quantised   | drafting:quantised      |            | model
drafter  | skip_layers | drafting:skip_layers    | (1,)       | model
drafter  | early_exit  | drafting:early_exit     | 1          | model
drafter  | swift       | drafting:SWIFT          |            | model
drafter  | del         | drafting:DEL            |            | model
drafter  | rest        | drafting:REST           | nodes=4, tokens=2, shortest=1 | store
drafter  | forced      | drafting:Forced         |            | guide, vocab
drafter  | draft_model | drafting:DraftModel     | tokens=2   | draft
drafter  | pearl       | drafting:Pearl          | tokens=2   | draft
drafter  | retokenised | drafting:Retokenised    | tokens=2   | foreign, vocab
drafter  | staged      | drafting:Staged         | tokens=2   | middle, drafter, verifier
drafter  | rasd        | drafting:RASD           | tokens=2, top=2 | draft, retrieve
drafter  | graft       | drafting:Graft          | nodes=5, width=2, depth=2 | draft, retrieve
drafter  | propd       | drafting:ProPD          | top=1      | drafter, early
drafter  | bandit      | drafting:BanditDrafter  | most=2     | drafters
drafter  | lattice     | drafting:Lattice
drafter  | limited     | drafting:Limited        |            | drafter, length
drafter  | quantspec   | drafting:quantspec      |            | two_levels
drafter  | tetris      | drafting:Tetris         |            | draft, capacity, tree
verifier | sample_match| verification:SampleMatch
verifier | greedy_match| verification:GreedyMatch
verifier | rejection   | verification:Rejection
verifier | recursive   | verification:Recursive
verifier | multi_candidate | verification:MultiCandidate
verifier | block       | verification:Block
verifier | kseq        | verification:KSeq
verifier | typical     | verification:Typical
verifier | lenient     | verification:Lenient    | 0.4
verifier | relaxed     | verification:Relaxed    | 2, gap=1.0
verifier | ensemble    | verification:Ensemble   | 0.4
verifier | reflective  | verification:Reflective | (0, 1), weight=0.5
verifier | judge       | verification:Judge      |            | weight
length   | constant    | drafting:Constant       | 2
length   | heuristic   | drafting:Heuristic      | 1, most=2
length   | confidence  | drafting:Confidence     | 0.6, most=2
length   | adaptive_confidence | drafting:AdaptiveConfidence | 0.5, most=2
length   | fitted_confidence | drafting:FittedConfidence | most=2
length   | svip        | drafting:SVIP           | threshold=0.36, most=2
length   | ddd         | drafting:DDD            | depths=(1,), width=2, most=2
length   | thompson    | drafting:Thompson       | 1.0, 1.0, most=2
length   | bandit      | drafting:BanditLength   | (0, 1, 2)
length   | bass        | drafting:BASS           | start=2, most=2
length   | goodput     | drafting:Goodput        | most=2     | verify_cost
length   | specdecpp   | drafting:SpecDecPP      | least=1, most=2 | acceptance
length   | disco       | drafting:DISCO          | most=2     | acceptance
length   | adaeagle    | drafting:AdaEAGLE       | most=2, first=1 | predict
tree     | chain       | drafting:Chain          | 2
tree     | chains      | drafting:Chains         | 2, 2
tree     | k_config    | drafting:KConfig        | (2, 1)
tree     | template    | drafting:Template       | ((0,), (1,), (0, 0))
tree     | stochastic_beam | drafting:StochasticBeam | 2, 2
tree     | dyspec      | drafting:DySpec         | nodes=2
tree     | sequoia     | drafting:Sequoia        | nodes=3, depth=2, acceptance=(0.6, 0.5)
tree     | beam        | drafting:Beam           | width=2, depth=2, nodes=3
tree     | opt_tree    | drafting:OptTree        | nodes=3, depth=3, delta=0.0
tree     | siblings    | drafting:Siblings       | ((0.5, 1), (0.0, 2)), most=2
shaper   | temperature | shaping:temperature     | 0.7
shaper   | top_k       | shaping:top_k           | 3
shaper   | top_p       | shaping:top_p           | 0.9
shaper   | min_p       | shaping:min_p           | 0.1
shaper   | typical     | shaping:typical         | 0.6
shaper   | epsilon     | shaping:epsilon         | 0.1
shaper   | eta         | shaping:eta             | 0.1
shaper   | top_n_sigma | shaping:top_n_sigma     | 0.8
shaper   | top_h       | shaping:top_h           | 0.7
shaper   | xtc         | shaping:xtc             | 0.2, 0.5
shaper   | mirostat    | shaping:mirostat        | 1.0, 0.4
shaper   | dynamic_temperature | shaping:dynamic_temperature | 0.5, 1.5, 1.2
shaper   | repetition  | shaping:repetition      | 1.2
shaper   | presence    | shaping:presence        | 0.5
shaper   | frequency   | shaping:frequency       | 0.5
shaper   | penalty     | shaping:penalty         | 1.5, window=2, length_weight=0.5, length=3
shaper   | bias        | shaping:bias            | {1: 1.0}
shaper   | sequence_bias | shaping:sequence_bias | {"ab": 1.0, (0, 0): -1.0}
shaper   | ban         | shaping:ban             | "bb"
shaper   | end_decay   | shaping:end_decay       | 1, 1.3
shaper   | self_terminating | shaping:self_terminating | 0.1, relative=True
shaper   | watermark   | shaping:watermark       | key=3, gamma=0.4, delta=1.5
shaper   | no_repeat   | shaping:no_repeat       | 2
shaper   | dry         | shaping:dry             | 0.8, 1.5, allowed=1, breakers=(1,)
shaper   | momentum    | shaping:momentum        | 3, 0.2, (0, 1, 2)
shaper   | fsd         | shaping:fsd             | k=3, alpha=0.45 | model
shaper   | contrastive_search | shaping:contrastive_search | k=3, alpha=0.5 | model
shaper   | look_back   | shaping:look_back       | alpha=0.3, k=2, window=3 | model
shaper   | dola        | shaping:dola            | "high", alpha=0.05 | model
shaper   | deco        | shaping:deco            | alpha=0.6, top_k=3 | model
shaper   | dfd         | shaping:dfd             | base=1.1, sigma=0.25 | model
shaper   | adadec      | shaping:adadec          | 0.9, beams=2, ahead=2 | model
shaper   | value       | shaping:value           | 0.5, 3 | model, V
shaper   | router      | shaping:router          | 1.2, window=2, dwell=1 | small, model
shaper   | rpg         | shaping:rpg             | 0.5, 0.5 | guide
shaper   | combine     | shaping:combine         | (0.7, 0.4), head=(0, 0.05) | parts
shaper   | contrast    | shaping:contrast        | alpha=0.2 | model, amateur
shaper   | proxy       | shaping:proxy           | a=0.5 | model, tuned, base
shaper   | guidance    | shaping:guidance        | negative, 1.5 | lm
shaper   | context_aware | shaping:context_aware | 0.5 | lm, context, question
shaper   | instructive | shaping:instructive     | shuffled, 0.3 | lm, prompt
shaper   | lqcd        | shaping:lqcd            | leading, 0.7 | lm
shaper   | adversarial | shaping:adversarial     | safe, opposite, 0.4 | lm
shaper   | aed         | shaping:aed             | assistant, bias=0.1, first=2, size=2 | lm
decoder  | sample      | decoders:Sample
decoder  | beam        | decoders:Beam           | 3
decoder  | best_first  | decoders:BestFirst      | 3
decoder  | stochastic  | decoders:StochasticBeam | 3
decoder  | lattice     | decoders:Lattice        | 200
decoder  | markov      | decoders:Markov         | 2, 16
decoder  | superposed  | decoders:Superposed     | 3, alpha=0
decoder  | smc         | decoders:SMC            | 8
decoder  | best_of     | decoders:BestOf         | 4
decoder  | adadec      | decoders:AdaDec         | 0.9, beams=2, ahead=2
"""
