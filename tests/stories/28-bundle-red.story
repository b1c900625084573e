# One of a bundle is red: both fail, and nothing of it lands.
window 3
cycles bundle
change A needs B
change B needs A
red B
announce A B
testing B on A
finish B
main: base
events A: queued blocked(dependency) failed(dependency_failed)
events B: queued testing failed(gate_red)
