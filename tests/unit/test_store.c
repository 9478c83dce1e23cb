/* store: what is published is whole, what is not published leaves nothing. */
#include "../../lib/store.c"

#include <setjmp.h>
#include <stdarg.h>
#include <sys/wait.h>
#include <cmocka.h>

static char root[64];
static struct store *store;

static void
put(struct store_stage *stage, const char *name, const char *text)
{
    int fd;

    assert_int_equal(store_stage_create(stage, name, &fd), STORE_OK);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    close(fd);
}

static bool
is_text(const char *name, const char *text)
{
    char buf[100] = "";
    int fd = openat(store->root, name, O_RDONLY);
    ssize_t n = fd < 0 ? -1 : read(fd, buf, sizeof buf - 1);

    if (fd >= 0)
        close(fd);
    return n >= 0 && strcmp(buf, text) == 0;
}

static size_t
staged(void)
{
    DIR *dir = open_folder(store->root, STAGING);
    size_t n = 0;

    while (next_entry(dir) != NULL)
        n++;
    closedir(dir);
    return n;
}

static struct store_stage *
stage_of_a_listing(void)
{
    struct store_stage *stage;

    assert_int_equal(store_stage_begin(store, &stage), STORE_OK);
    assert_int_equal(store_stage_mkdir(stage, "out/device"), STORE_OK);
    assert_int_equal(store_stage_mkdir(stage, "out/bill"), STORE_OK);
    assert_int_equal(store_stage_mkdir(stage, "in"), STORE_OK);
    put(stage, "in/0", "upload");
    put(stage, "out/device/photo1_full.jpg", "full");
    put(stage, "out/bill/bill.pdf", "bill");
    return stage;
}

static int
open_new(void **state)
{
    (void)state;
    snprintf(root, sizeof root, "/tmp/test-store-XXXXXX");
    return mkdtemp(root) != NULL && store_open(root, &store) == STORE_OK ? 0 : -1;
}

static int
remove_all(void **state)
{
    (void)state;
    store_close(store);
    return remove_tree(AT_FDCWD, root, 0);
}

static void
a_published_folder_is_whole_and_its_stage_gone(void **state)
{
    struct store_stage *stage = stage_of_a_listing();

    (void)state;
    assert_false(store_exists(store, "listings/a-1"));
    assert_int_equal(store_publish_folder(stage, "out", "listings/a-1"), STORE_OK);
    store_stage_end(stage);
    assert_true(is_text("listings/a-1/device/photo1_full.jpg", "full"));
    assert_true(is_text("listings/a-1/bill/bill.pdf", "bill"));
    assert_true(store_exists(store, "listings/a-1"));
    assert_true(store_exists(store, "listings/a-1/bill/bill.pdf"));
    assert_false(store_exists(store, "listings/a-1/in"));
    assert_int_equal(staged(), 0);
}

static void
a_stage_that_is_given_up_leaves_nothing(void **state)
{
    struct store_stage *stage = stage_of_a_listing();

    (void)state;
    assert_int_equal(staged(), 1);
    store_stage_end(stage);
    assert_int_equal(staged(), 0);
    assert_false(store_exists(store, "listings/a-1"));
    store_stage_end(NULL);
}

static void
nothing_published_is_ever_replaced(void **state)
{
    struct store_stage *first = stage_of_a_listing(), *second = stage_of_a_listing();

    (void)state;
    put(second, "out/other", "other");
    assert_int_equal(store_publish_folder(first, "out", "listings/a"), STORE_OK);
    assert_int_equal(store_publish_folder(second, "out", "listings/a"), STORE_EXISTS);
    assert_false(store_exists(store, "listings/a/other"));
    assert_int_equal(store_publish_file(second, "out/other", "listings/a/bill/bill.pdf"), STORE_EXISTS);
    assert_true(is_text("listings/a/bill/bill.pdf", "bill"));
    store_stage_end(first);
    store_stage_end(second);
}

static void
a_file_is_published_beside_others(void **state)
{
    struct store_stage *stage = stage_of_a_listing();

    (void)state;
    assert_int_equal(store_publish_file(stage, "in/0", "verification/o/one.jpg"), STORE_OK);
    put(stage, "in/1", "second");
    assert_int_equal(store_publish_file(stage, "in/1", "verification/o/two.jpg"), STORE_OK);
    store_stage_end(stage);
    assert_true(is_text("verification/o/one.jpg", "upload"));
    assert_true(is_text("verification/o/two.jpg", "second"));
}

static void
a_deleted_folder_is_gone_as_a_whole_and_deleting_again_is_fine(void **state)
{
    struct store_stage *stage = stage_of_a_listing();

    (void)state;
    assert_int_equal(store_publish_folder(stage, "out", "listings/a"), STORE_OK);
    store_stage_end(stage);
    assert_int_equal(store_delete(store, "listings/a/bill/bill.pdf"), STORE_OK);
    assert_false(store_exists(store, "listings/a/bill/bill.pdf"));
    assert_int_equal(store_delete(store, "listings/a"), STORE_OK);
    assert_false(store_exists(store, "listings/a"));
    assert_int_equal(store_delete(store, "listings/a"), STORE_OK);
    assert_int_equal(store_delete(store, "verification/none/x.jpg"), STORE_OK);
    assert_int_equal(staged(), 0);
}

static void
keys_cannot_leave_their_place(void **state)
{
    static const char *const bad[] = {
        "", "/", "listings", "listings/", "/listings/a", "listings//a", "listings/../x", "listings/a/../../x",
        "listings/./a", "listings/a/", "listings/.a", "staging/a", "other/a", "../listings/a", "listings/a b",
        "listings/a\n", "listings/%2e",
    };
    struct store_stage *stage = stage_of_a_listing();
    char longest[300];
    int fd;

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(store_publish_folder(stage, "out", bad[i]), STORE_BAD_KEY);
        assert_int_equal(store_delete(store, bad[i]), STORE_BAD_KEY);
        assert_false(store_exists(store, bad[i]));
    }
    snprintf(longest, sizeof longest, "listings/%0280d", 0);
    assert_int_equal(store_delete(store, longest), STORE_BAD_KEY);
    assert_int_equal(store_stage_create(stage, "../x", &fd), STORE_BAD_KEY);
    assert_int_equal(store_stage_mkdir(stage, "/tmp/x"), STORE_BAD_KEY);
    assert_int_equal(store_publish_folder(stage, "missing", "listings/a"), STORE_FAILED);
    assert_false(store_exists(store, "listings/a"));
    store_stage_end(stage);
}

static void
purge_takes_what_a_killed_program_left_and_nothing_younger(void **state)
{
    struct store_stage *young;
    size_t n;
    int status;
    pid_t pid = fork();

    (void)state;
    if (pid == 0) {
        struct store_stage *stage = stage_of_a_listing();
        const struct timespec old[2] = {{.tv_sec = time(NULL) - 7200}, {.tv_sec = time(NULL) - 7200}};
        static const char *const names[] = {"in/0", "out/device/photo1_full.jpg", "out/bill/bill.pdf",
                                            "in", "out/device", "out/bill", "out", "."};
        for (size_t i = 0; i < sizeof names / sizeof *names; i++)
            utimensat(stage->dir, names[i], old, 0);
        raise(SIGKILL);
    }
    waitpid(pid, &status, 0);
    young = stage_of_a_listing();
    assert_int_equal(staged(), 2);
    assert_int_equal(store_purge(store, 3600, &n), STORE_OK);
    assert_int_equal(n, 1);
    assert_int_equal(staged(), 1);
    assert_int_equal(store_publish_folder(young, "out", "listings/a"), STORE_OK);
    store_stage_end(young);
}

static bool
note(void *ctx, const char *id)
{
    snprintf(ctx, 20, "%s", id);
    return true;
}

static void
each_tells_of_old_folders_only(void **state)
{
    struct store_stage *stage = stage_of_a_listing();
    char seen[20] = "";

    (void)state;
    assert_int_equal(store_publish_folder(stage, "out", "listings/a-1"), STORE_OK);
    store_stage_end(stage);
    assert_int_equal(store_each(store, "listings", 3600, note, seen), STORE_OK);
    assert_string_equal(seen, "");
    assert_int_equal(store_each(store, "listings", 0, note, seen), STORE_OK);
    assert_string_equal(seen, "a-1");
    assert_int_equal(store_each(store, "../x", 0, note, seen), STORE_BAD_KEY);
}

static void
a_store_opens_again_over_what_is_there(void **state)
{
    struct store *again;
    int percent = store_free_percent(store);

    (void)state;
    assert_int_equal(store_open(root, &again), STORE_OK);
    store_close(again);
    assert_int_equal(store_open("/dev/null/x", &again), STORE_FAILED);
    assert_null(again);
    assert_true(percent >= 0 && percent <= 100);
}

int
main(void)
{
#define test(name) cmocka_unit_test_setup_teardown(name, open_new, remove_all)
    const struct CMUnitTest tests[] = {
        test(a_published_folder_is_whole_and_its_stage_gone),
        test(a_stage_that_is_given_up_leaves_nothing),
        test(nothing_published_is_ever_replaced),
        test(a_file_is_published_beside_others),
        test(a_deleted_folder_is_gone_as_a_whole_and_deleting_again_is_fine),
        test(keys_cannot_leave_their_place),
        test(purge_takes_what_a_killed_program_left_and_nothing_younger),
        test(each_tells_of_old_folders_only),
        test(a_store_opens_again_over_what_is_there),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
