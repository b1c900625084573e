# Somebody pushes a hotfix while A and B are under test: it survives, A and B are tested again on it and land.
window 2
change A
change B
announce A B
hotfix H
finish B A
main: base H
testing A on main, B on A
finish A B
main: base H A B
runs 4
