/* image -- see image.h. */
#include "image.h"

#include "clock.h"
#include "metrics.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <semaphore.h>
#include <signal.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define WORKERS_DEFAULT 2
#define WORKERS_LIMIT 64

static sem_t permits;
static unsigned workers;

void
image_setup(unsigned workers_max)
{
    assert(workers == 0 && workers_max > 0);
    workers = workers_max < WORKERS_LIMIT ? workers_max : WORKERS_LIMIT;
    sem_init(&permits, 0, workers);
}

static void __attribute__((constructor))
set_default(void)
{
    sem_init(&permits, 0, WORKERS_DEFAULT);
}

/* A running worker: its pid, the pipe it answers on, what it said so far. */
struct running {
    struct image_job *job;
    pid_t pid;
    int fd;
    int64_t deadline_ms;
    uint64_t began_ns;
    size_t len;
    char line[100];
};

/* 0 and R->fd and R->pid, or an errno.  The worker gets nothing of our environment (no secret), a session of its own
 * (a Ctrl-C in a terminal is not for it, nor is our share of the CPU), default signals, no descriptor but the pipe and
 * standard error. */
static int
start(struct running *r, const char *worker)
{
    static const char *const kinds[] = {[IMAGE_PHOTO] = "photo", [IMAGE_PROOF] = "proof", [IMAGE_BILL] = "bill"};
    char *argv[6] = {NULL}, *env[] = {(char[]){"LC_ALL=C"}, (char[]){"MALLOC_ARENA_MAX=1"}, NULL};
    const char *args[] = {worker, kinds[r->job->kind], r->job->source, r->job->dir, r->job->name};
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    sigset_t none, all;
    int ends[2], error;

    if (pipe2(ends, O_CLOEXEC) != 0)
        return errno;
    /* posix_spawn does not write to its arguments; only its type says so */
    memcpy(argv, args, sizeof args);
    sigemptyset(&none);
    sigfillset(&all);
    posix_spawn_file_actions_init(&actions);
    posix_spawnattr_init(&attributes);
    error = posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    if (error == 0)
        error = posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
    if (error == 0)
        error = posix_spawn_file_actions_addclosefrom_np(&actions, STDERR_FILENO + 1);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setsigdefault(&attributes, &all);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSID);
    if (error == 0)
        error = posix_spawn(&r->pid, worker, &actions, &attributes, argv, env);
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&actions);
    close(ends[1]);
    if (error != 0) {
        close(ends[0]);
        return error;
    }
    r->fd = ends[0];
    r->len = 0;
    return 0;
}

static enum image_status
read_line(struct image_job *job, const char *line)
{
    static const struct {
        const char *line;
        enum image_status status;
    } errors[] = {
        {"error unsupported\n", IMAGE_UNSUPPORTED}, {"error undecodable\n", IMAGE_UNDECODABLE},
        {"error too_large\n", IMAGE_TOO_LARGE},     {"error storage\n", IMAGE_STORAGE},
        {"error internal\n", IMAGE_FAILED},
    };

    if (sscanf(line, "ok %4s %u %u", job->extension, &job->width, &job->height) == 3) {
        /* scanf forgives much; the worker may have been taken over by its picture.  What it said is what it
         * would say of what was understood, or nothing. */
        char again[sizeof ((struct running *)NULL)->line];
        snprintf(again, sizeof again, "ok %s %u %u\n", job->extension, job->width, job->height);
        return strcmp(again, line) == 0 ? IMAGE_OK : IMAGE_FAILED;
    }
    for (size_t i = 0; i < sizeof errors / sizeof *errors; i++)
        if (strcmp(line, errors[i].line) == 0)
            return errors[i].status;
    return IMAGE_FAILED;
}

/* The worker closed its pipe, or is to be killed: wait for its end and judge. */
static void
finish(struct running *r, bool kill_it)
{
    int status = 0;

    if (kill_it)
        kill(r->pid, SIGKILL);
    close(r->fd);
    while (waitpid(r->pid, &status, 0) < 0 && errno == EINTR)
        ;
    r->line[r->len] = '\0';
    if (kill_it)
        r->job->status = IMAGE_FAILED;
    else if (r->len > 0 && r->line[r->len - 1] == '\n')
        r->job->status = read_line(r->job, r->line);
    else if (WIFEXITED(status) && WEXITSTATUS(status) == IMAGE_UNSAID)
        r->job->status = IMAGE_FAILED;
    else if (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL)
        r->job->status = IMAGE_FAILED; /* by the kernel, out of memory, or by an administrator */
    else
        r->job->status = IMAGE_UNDECODABLE; /* its limits or a decoder's bug: what the file did to it */
    metrics_observe(METRICS_PHOTO, clock_ns() - r->began_ns);
    if (r->job->status == IMAGE_FAILED || r->job->status == IMAGE_STORAGE)
        metrics_add(METRICS_PHOTO_FAILURES, 1);
    sem_post(&permits);
}

/* Wait for output or a deadline, and take worker I out of the list when it is done. */
static size_t
wait_for_some(struct running *running, size_t n)
{
    struct pollfd fds[WORKERS_LIMIT];
    int64_t now = clock_ms(), first = INT64_MAX;
    size_t left = 0;

    for (size_t i = 0; i < n; i++) {
        fds[i] = (struct pollfd){.fd = running[i].fd, .events = POLLIN};
        if (running[i].deadline_ms < first)
            first = running[i].deadline_ms;
    }
    if (poll(fds, n, first <= now ? 0 : (int)(first - now)) < 0)
        for (size_t i = 0; i < n; i++)
            fds[i].revents = 0; /* EINTR */
    now = clock_ms();
    for (size_t i = 0; i < n; i++) {
        struct running *r = &running[i];
        bool done = false, broken = false;

        if (fds[i].revents != 0) {
            ssize_t len = read(r->fd, r->line + r->len, sizeof r->line - 1 - r->len);
            if (len > 0)
                r->len += (size_t)len;
            /* a line too long ends it as well: read returns 0 when there is no room */
            done = len == 0;
            broken = len < 0 && errno != EINTR && errno != EAGAIN;   /* our trouble, not the file's */
        }
        if (done)
            finish(r, false);
        else if (broken || now >= r->deadline_ms)
            finish(r, true);
        else
            running[left++] = *r;
    }
    return left;
}

void
image_run(const char *worker, int timeout_ms, struct image_job *jobs, size_t n)
{
    struct running running[WORKERS_LIMIT];
    size_t n_running = 0, next = 0;

    while (next < n || n_running > 0) {
        /* wait for a permit only with nothing running, so that no two threads can wait for each other */
        while (next < n && n_running < WORKERS_LIMIT) {
            struct running *r = &running[n_running];
            if (n_running == 0) {
                while (sem_wait(&permits) != 0)
                    ;
            } else if (sem_trywait(&permits) != 0) {
                break;
            }
            *r = (struct running){.job = &jobs[next++], .deadline_ms = clock_ms() + timeout_ms,
                                  .began_ns = clock_ns()};
            r->job->width = r->job->height = 0;
            r->job->extension[0] = '\0';
            if (start(r, worker) == 0) {
                n_running++;
            } else {
                r->job->status = IMAGE_FAILED;
                sem_post(&permits);
            }
        }
        if (n_running > 0)
            n_running = wait_for_some(running, n_running);
    }
}

const char *
image_problem(enum image_status status)
{
    static const char *const problems[] = {
        [IMAGE_UNSUPPORTED] = "is not of an accepted type",
        [IMAGE_UNDECODABLE] = "is not a readable file",
        [IMAGE_TOO_LARGE] = "must be at most 50 megapixels",
        [IMAGE_FAILED] = NULL,
    };

    return problems[status];
}
