/* replay_main -- runs a fuzz harness over saved inputs, with any compiler.
 *
 * With arguments it feeds those files; without, every file of tests/fuzz/corpus/NAME/ where the
 * program is fuzz_NAME (TOP_SRCDIR says where the source tree is).  A crash is the failure. */
#include <dirent.h>
#include <stdint.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static int
feed(const char *path)
{
    FILE *f = fopen(path, "rb");
    struct stat st;

    if (f == NULL || fstat(fileno(f), &st) != 0) {
        perror(path);
        return -1;
    }
    if (!S_ISREG(st.st_mode)) {
        fclose(f);
        return 0;
    }
    /* Exactly as long as the input, so that ASan sees a read of one byte too many. */
    uint8_t *data = malloc((size_t)st.st_size + (st.st_size == 0));
    if (data == NULL || fread(data, 1, (size_t)st.st_size, f) != (size_t)st.st_size) {
        perror(path);
        fclose(f);
        free(data);
        return -1;
    }
    fclose(f);
    fprintf(stderr, "%s\n", path);
    LLVMFuzzerTestOneInput(data, (size_t)st.st_size);
    free(data);
    return 1;
}

int
main(int argc, char **argv)
{
    int fed = 0;

    for (int i = 1; i < argc; i++)
        if (feed(argv[i]) < 0)
            return 1;
    if (argc > 1)
        return 0;

    const char *name = strrchr(argv[0], '/');
    name = name != NULL ? name + 1 : argv[0];
    if (strncmp(name, "fuzz_", 5) == 0)
        name += 5;

    const char *top = getenv("TOP_SRCDIR");
    char dir_path[4096], path[4096 + 256];
    snprintf(dir_path, sizeof dir_path, "%s/tests/fuzz/corpus/%s", top != NULL ? top : ".", name);

    DIR *dir = opendir(dir_path);
    if (dir == NULL) {
        perror(dir_path);
        return 1;
    }
    for (struct dirent *e; (e = readdir(dir)) != NULL;) {
        snprintf(path, sizeof path, "%s/%s", dir_path, e->d_name);
        int n = feed(path);
        if (n < 0)
            return 1;
        fed += n;
    }
    closedir(dir);
    printf("%d inputs\n", fed);
    return fed > 0 ? 0 : 1;
}
