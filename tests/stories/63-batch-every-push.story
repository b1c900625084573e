# Where only the tip of each push has to be tested, a batch lands as it is, without a merge commit of its own.
window 2
batch 8 slots 1
guarantee every-push
change A
change B
change C
announce A B C
testing A on main
finish A
testing C on A B
finish C
main: base A B C
runs 2
