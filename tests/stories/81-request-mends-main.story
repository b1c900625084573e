# Main is red. A waits for that, and R, which mends it, passes A and lands; then A is tested again and lands.
window 2
red H
hotfix H
look
change A
change R mends H
announce A
finish A
events A: queued testing blocked(target_red)
announce R
testing R on main
finish R
main: base H R
testing A on main
finish A
main: base H R A
events A: queued testing blocked(target_red) testing complete
events R: queued testing complete
