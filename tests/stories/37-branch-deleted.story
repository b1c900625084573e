# A's branch is gone before it was fetched: A fails at once and says so. B's is gone afterwards: its work is in
# custody and lands.
window 2
change A
change B
delete A
announce A
events A: failed(branch_missing)
announce B
delete B
finish B
main: base B
