# What a promoted one depends on comes with it, in front of it, and is told so. Who was under test keeps its place
# behind them, also where that is outside the window now.
window 3
change A
change B
change M
change N needs M
announce A B M N
testing A on main, B on A, M on A B
promote N
stopped A B M
testing M on main, N on M, A on M N
events M: queued testing promoted testing
events N: queued promoted testing
events B: queued testing
finish A M N
main: base M N A
finish B
main: base M N A B
