# Somebody pushes H, which is green, while A is under test, and A is red on top of it: main passes without A, so A fails.
window 1
change A
red A with H
announce A
hotfix H
look
finish A
events A: queued testing testing failed(gate_red)
main: base H
