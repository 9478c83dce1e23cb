/* with_arena -- an arena for each test: begin() and end() are its setup and teardown. */
#include "../../lib/arena.h"

static struct arena *arena;

static int
begin(void **state)
{
    (void)state;
    arena = arena_new();
    return arena == NULL;
}

static int
end(void **state)
{
    (void)state;
    arena_free(arena);
    return 0;
}
