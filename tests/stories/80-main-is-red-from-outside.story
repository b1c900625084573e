# Somebody pushes H, which is red. A and B are red on top of it, but so is main without them: nobody is blamed, both
# wait, and when somebody mends main they are tested again and land.
window 2
change A
change B
red H
announce A B
hotfix H
look
testing A on main, B on A
finish A
events A: queued testing testing blocked(target_red)
testing B on main
finish B
events B: queued testing testing testing blocked(target_red)
testing nothing
hotfix M mends H
look
testing A on main, B on A
finish A B
main: base H M A B
