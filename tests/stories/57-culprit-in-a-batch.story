# Four are tested together and are red for one of them: it alone fails, and what lands was tested itself.
window 2
batch 8 slots 1
change X
change A
change B
change C
change D
red C
announce X A B C D
testing X on main
finish X
testing D on X A B C
finish D
testing A on main
finish A
testing B on A
finish B
testing C on B
finish C
testing D on main
finish D
main: base X A B D
runs 6
