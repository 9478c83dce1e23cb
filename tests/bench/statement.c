/* statement -- prints the statement of the marketplace's front page, for pgbench: what is measured beside
 * the service is then always the service's own.
 *
 *   statement          the page with all that it says: what the database is asked for when nothing is kept
 *   statement sent     what the bids program sends when it has kept what the listings say of themselves */
#include "../../cgi-bin/market.c"

SQL(whole,
    "SELECT " LISTING_COLUMNS("(l.client_id = $1::uuid OR " SHAPE_IS_ADMIN ")") ","
    " l.highest_amount AS \"currentBid:rupees\", l.bid_count AS \"totalBids\","
    " ceil(extract(epoch FROM l.auction_end - now()) / 60)::int AS \"timeLeft\""
    " FROM (SELECT l.*" FRONT_WHERE("l.asking_price", HAS_WORDS) " ORDER BY l.approved_at DESC, l.id DESC LIMIT $7 OFFSET $8) l"
    " ORDER BY l.approved_at DESC, l.id DESC");

/* With page :page of 20 rows for an anonymous viewer, and none of the optional conditions. */
int
main(int argc, char **argv)
{
    bool quoted = false, sent = argc > 1 && strcmp(argv[1], "sent") == 0;
    for (const char *s = sent ? newest_front.text : whole.text; *s != '\0';) {
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
