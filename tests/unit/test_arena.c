/* An arena's promises: aligned, never NULL, guests released newest first. */
#include "../../lib/arena.c"

#include <setjmp.h>
#include <cmocka.h>

static char released[16];

static void
release(void *guest)
{
    strncat(released, guest, 1);
}

static void
guests_are_released_newest_first(void **state)
{
    (void)state;
    struct arena *a = arena_new();
    released[0] = '\0';
    arena_own(a, (char[]){ "1" }, release);
    arena_own(a, (char[]){ "2" }, release);
    arena_own(a, NULL, release);
    arena_own(a, (char[]){ "3" }, release);
    arena_reset(a);
    assert_string_equal(released, "321");
    arena_free(a);
    assert_string_equal(released, "321");
}

static void
releasing_guests_keeps_the_memory(void **state)
{
    (void)state;
    struct arena *a = arena_new();
    released[0] = '\0';
    char *kept = arena_strdup(a, "kept");
    arena_own(a, (char[]){ "1" }, release);
    arena_release(a);
    assert_string_equal(released, "1");
    assert_string_equal(kept, "kept");
    arena_free(a);
}

static void
every_allocation_is_aligned_and_apart(void **state)
{
    (void)state;
    struct arena *a = arena_new();
    unsigned char *last = NULL;
    for (size_t len = 1; len < 3000; len += 7) {
        unsigned char *p = arena_alloc(a, len);
        assert_int_equal((uintptr_t)p % alignof(max_align_t), 0);
        memset(p, (int)len, len);
        assert_ptr_not_equal(p, last);
        last = p;
    }
    unsigned char *big = arena_zalloc(a, 3, 1 << 20);
    for (size_t i = 0; i < 3u << 20; i += 4096)
        assert_int_equal(big[i], 0);
    arena_free(a);
}

static void
a_reset_keeps_only_the_first_block(void **state)
{
    (void)state;
    struct arena *a = arena_new();
    size_t before = arena_bytes(a);
    (void)arena_alloc(a, 5 << 20);
    assert_true(arena_bytes(a) > 5u << 20);
    arena_reset(a);
    assert_int_equal(arena_bytes(a), before);
    arena_free(a);
}

static jmp_buf out;

static void
leave(void *ctx)
{
    longjmp(out, *(int *)ctx);
}

static void
without_memory_the_handler_is_called_and_nothing_is_returned(void **state)
{
    (void)state;
    struct arena *a = arena_new();
    int why = 7;
    volatile size_t most = SIZE_MAX;    /* or the compiler refuses what is tried here */
    arena_on_oom(a, leave, &why);
    int got = setjmp(out);
    if (got == 0)
        (void)arena_zalloc(a, most / 2, 3);
    assert_int_equal(got, 7);
    got = setjmp(out);
    if (got == 0)
        (void)arena_alloc(a, most - 1);
    assert_int_equal(got, 7);
    arena_free(a);
}

static void
text_is_copied_and_printed(void **state)
{
    (void)state;
    struct arena *a = arena_new();
    assert_string_equal(arena_printf(a, "%s-%d", "x", 5), "x-5");
    char *s = arena_memdup0(a, "a\0b", 3);
    assert_memory_equal(s, "a\0b\0", 4);
    assert_string_equal(arena_memdup0(a, NULL, 0), "");
    arena_free(a);
    arena_free(NULL);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(guests_are_released_newest_first),
        cmocka_unit_test(releasing_guests_keeps_the_memory),
        cmocka_unit_test(every_allocation_is_aligned_and_apart),
        cmocka_unit_test(a_reset_keeps_only_the_first_block),
        cmocka_unit_test(without_memory_the_handler_is_called_and_nothing_is_returned),
        cmocka_unit_test(text_is_copied_and_printed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
