# Work that main has already: complete without a commit and without a run; main stays as it is.
window 2
change E empty
change M
hotfix H merges M
look
announce E M
main: base H
events E: queued complete
events M: queued complete
runs 0
