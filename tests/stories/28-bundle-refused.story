# The remote never takes one of a bundle. Both are told its words, because only these say which of the two it means.
window 3
cycles bundle
change A needs B
change B needs A
refuse A
announce A B
testing B on A
finish B
main: base
events A: queued blocked(dependency) failed(push_refused)
events B: queued testing failed(push_refused)
runs 1
