# Where the project asks for reviews, an approval counts for its very head, by somebody else whose word counts.
window 2
rules review.required = true; review.by = ["eve", "roy"]
change A by roy
announce A
events A: queued blocked(review)
review A approved by roy
review A approved by ana
testing nothing
review A approved by eve
testing A on main
push A
announce A
events A: queued blocked(review) testing queued superseded blocked(review)
review A at 1 approved by eve
testing nothing
review A approved by eve
finish A
main: base A
