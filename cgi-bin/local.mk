# cgi-bin/ -- one FastCGI program an API area.  A line here is all that a new one needs: it is built
# from cgi-bin/NAME.c, and ./quickstart starts whatever is listed.
