/* statement -- prints the marketplace's front page statement as the bids program sends it, for pgbench:
 * what is measured beside the service is then always the service's own. */
#define main bids_main
int bids_main(void);
#include "../../cgi-bin/bids.c"
#undef main

/* TEXT with page :page of 20 rows for an anonymous viewer, and none of the optional conditions. */
int
main(void)
{
    bool quoted = false;
    for (const char *s = market_newest.text; *s != '\0';) {
        if (strncmp(s, "{?", 2) == 0) {
            s = strstr(s, "?}") + 2;
        } else if (*s == '$') {
            fputs(s[1] == '7' ? "20" : s[1] == '8' ? "20 * :page" : "NULL::uuid", stdout);
            s += 2;
        } else {
            quoted ^= *s == '"';
            putchar(quoted && *s == ':' ? '_' : *s);   /* pgbench would take "price:rupees" for a variable */
            s++;
        }
    }
    puts(";");
    return 0;
}
