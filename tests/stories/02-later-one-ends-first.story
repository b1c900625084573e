# C is green first. Nothing lands before A is decided; then all land and nothing is tested again.
window 3
change A
change B
change C
announce A B C
finish C B
main: base
finish A
main: base A B C
stopped nothing
runs 3
