/* selliko-send-whatsapp -- drain the WhatsApp queue.
 *
 *   selliko-send-whatsapp [--watch SECONDS] [--verbose]
 *
 * Without --watch: send what is due and exit.  With it: stay that long, and send at once what is queued
 * meanwhile (the programs NOTIFY selliko_whatsapp after their commit; a sweep each second finds what
 * nobody announced).  Any number may run at the same time.
 *
 * A message goes through four steps, each committed before the next one begins:
 *
 *   taken      the row is this sender's; should it die now, another one takes the row at once
 *   marked     the POST begins immediately after this commit
 *   posted     the API has it, or not: only its answer tells
 *   recorded   what the API said is in the row, and in the notification
 *
 * The API has no key by which it would recognise a message that is posted twice, so one case cannot be
 * decided: the sender dies (or the connection breaks) between marked and recorded.  Then the row rests
 * until the POST cannot be under way any more; if Meta's webhook has meanwhile named a message to
 * that person that nobody knows, it was sent; otherwise an OTP fails (the person asks for another) and
 * any other message is sent again, which may be the second time.  See sql/011_whatsapp_functions.sql.
 *
 * What the API answers is judged in lib/whatsapp.c.  Where nothing is accepted (token, permission,
 * billing, block) the queue stops: service_state 'whatsapp_queue' says why, the administrators are
 * told, and one message now and then shows whether it was mended.
 *
 * Without WHATSAPP_ACCESS_TOKEN messages wait (production), or are written to the development log.
 *
 * Ends with 0, or with a code of sysexits.h and a reason on stderr. */
#include "clock.h"
#include "config.h"
#include "db.h"
#include "devlog.h"
#include "fault.h"
#include "log.h"
#include "metrics.h"
#include "options.h"
#include "post.h"
#include "queue.h"
#include "sentry.h"

#include <signal.h>
#include <sys/signalfd.h>
#include <sysexits.h>
#include <unistd.h>

enum { SWEEP_MS = 1000, RETRY_RECORD_MS = 250, FOREVER_MS = 1 << 30 };

/* Unrecorded answers are worth waiting for, but not for ever. */
enum { RECORD_AT_LEAST_MS = 30000 };

static struct {
    bool live;              /* to the Graph API */
    bool idle;              /* production without a token: everything waits */
    struct options options;
    int signal_fd;
    bool stopping;
    bool drained;           /* the last look found nothing more that is due */
    int64_t take_at_ms, sweep_at_ms;
    int64_t paced_ms;       /* until then a wake-up is of no use: the pace gives nothing sooner */
    struct outcome ended[POST_MAX];   /* answers that are not recorded yet */
    int n_ended;
    int64_t unrecorded_since_ms;
    uint64_t n_sent, n_failed, n_again;
} sender;

/* Ready to send, or an exit code. */
static int
begin(void)
{
    static char url[1024];
    const struct config *c = config();
    struct queue_limits limits = { .rate_per_s = c->whatsapp_rate_per_second, .person_s = c->whatsapp_person_s,
                                   .post_s = c->whatsapp_timeout_s, .otp_button = c->whatsapp_otp_button };
    sigset_t signals;

    sender.live = c->whatsapp_access_token != NULL;
    sender.idle = !sender.live && c->production;
    limits.live = sender.live;
    if (sender.live && c->whatsapp_phone_number_id == NULL) {
        fprintf(stderr, "WHATSAPP_PHONE_NUMBER_ID: is needed with WHATSAPP_ACCESS_TOKEN\n");
        return EX_CONFIG;
    }
    if (!sender.live && !sender.idle && !devlog_open(c->state_dir))
        return EX_CANTCREAT;
    if (sender.idle)
        log_warn("WHATSAPP_ACCESS_TOKEN is not set: messages wait in the queue");
    snprintf(url, sizeof url, "%s/%s/%s/messages", c->whatsapp_api_url, c->whatsapp_api_version,
             sender.live ? c->whatsapp_phone_number_id : "");

    signal(SIGPIPE, SIG_IGN);
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    sigprocmask(SIG_BLOCK, &signals, NULL);
    sender.signal_fd = signalfd(-1, &signals, SFD_NONBLOCK | SFD_CLOEXEC);
    if (sender.signal_fd < 0)
        return EX_OSERR;

    sentry_open(c->sentry_dsn, c->state_dir, "selliko-send-whatsapp");
    (void)metrics_open(c->state_dir);
    metrics_process("selliko-send-whatsapp");
    db_init(c->database_url, "selliko-send-whatsapp", 1, c->db_timeout_s);
    queue_open(&limits);
    post_open(url, sender.live ? c->whatsapp_access_token : "", c->whatsapp_timeout_s);
    return EX_OK;
}

/* Take what is due and begin its POSTs.  False: the database is away. */
static bool
take(int64_t now)
{
    struct message m[QUEUE_BATCH];
    int room = sender.live ? post_room() : QUEUE_BATCH, wait_ms, n;

    if (room > QUEUE_BATCH)
        room = QUEUE_BATCH;
    n = queue_take(m, room, &wait_ms);
    sender.take_at_ms = n == room ? now : wait_ms >= 0 ? now + wait_ms : now + SWEEP_MS;
    sender.paced_ms = wait_ms >= 0 ? now + wait_ms : now;
    sender.drained = n >= 0 && sender.take_at_ms >= now + SWEEP_MS;
    if (n <= 0)
        return n == 0;
    if (!sender.live) {
        bool good = devlog_write(m, n);

        if (good)
            sender.n_sent += (uint64_t)n;
        if (good)
            metrics_add(METRICS_WHATSAPP_SENT, (uint64_t)n);
        return good;
    }
    if (!queue_mark(m, &n)) {
        for (int i = 0; i < n; i++)
            message_clear(&m[i]);
        return false;
    }
    for (int i = 0; i < n; i++)
        if (!post_begin(&m[i]) && sender.n_ended < POST_MAX)
            sender.ended[sender.n_ended++] = (struct outcome){
                .id = m[i].id, .attempt = m[i].attempt, .answer = { .outcome = WHATSAPP_RETRY, .error = "no memory" },
                .delay_s = whatsapp_delay(WHATSAPP_RETRY, m[i].attempt, 0, 0),
            };
    return true;
}

static void
count(const struct outcome *o)
{
    enum whatsapp_outcome outcome = o->answer.outcome;

    if (outcome == WHATSAPP_SENT)
        sender.n_sent++;
    else if (outcome == WHATSAPP_FAILED)
        sender.n_failed++, metrics_add(METRICS_WHATSAPP_FAILED, 1);
    else
        sender.n_again++;
    if (outcome == WHATSAPP_SENT)
        metrics_add(METRICS_WHATSAPP_SENT, 1);
    else if (outcome != WHATSAPP_STOP)   /* that is told once, when the queue stops */
        log_warn("a message was not accepted", log_i("message", o->id), log_i("attempt", o->attempt),
                 log_s("outcome", whatsapp_outcome_name(outcome)), log_i("code", o->answer.code), log_s("reason", o->answer.error));
    if (sender.options.verbose)
        log_info("message", log_i("message", o->id), log_i("attempt", o->attempt),
                 log_s("outcome", whatsapp_outcome_name(outcome)), log_s("id", o->answer.message_id));
}

/* Record the answers that have come; those that cannot be recorded now stay.  False: the database is away. */
static bool
record(void)
{
    struct outcome sent[POST_MAX];
    int n_sent = 0, left = 0;
    bool batch;

    for (int i = 0; i < sender.n_ended; i++)
        if (sender.ended[i].answer.outcome == WHATSAPP_SENT)
            sent[n_sent++] = sender.ended[i];
    batch = queue_sent(sent, n_sent);
    for (int i = 0; i < sender.n_ended; i++) {
        const struct outcome *o = &sender.ended[i];
        bool good = o->answer.outcome == WHATSAPP_SENT ? batch || queue_sent(o, 1) : queue_finish(o);

        if (good)
            count(o);
        else
            sender.ended[left++] = *o;
    }
    sender.n_ended = left;
    if (left == 0)
        sender.unrecorded_since_ms = 0;
    else if (sender.unrecorded_since_ms == 0)
        sender.unrecorded_since_ms = clock_ms();
    return left == 0;
}

static int
run(void)
{
    for (;;) {
        struct signalfd_siginfo info;
        int64_t now, next;
        bool database = true;

        sender.n_ended += post_ended(sender.ended + sender.n_ended, POST_MAX - sender.n_ended);
        if (sender.n_ended > 0)
            database = record();
        now = clock_ms();
        if (read(sender.signal_fd, &info, sizeof info) > 0 || (sender.options.end_ms != 0 && now >= sender.options.end_ms))
            sender.stopping = true;

        if (sender.stopping && post_room() == POST_MAX) {
            if (sender.n_ended == 0)
                return EX_OK;
            if (now - sender.unrecorded_since_ms > RECORD_AT_LEAST_MS) {
                log_error("answers were not recorded", log_i("messages", sender.n_ended));
                return EX_TEMPFAIL;
            }
        }
        if (database && !sender.stopping) {
            if (now >= sender.sweep_at_ms) {
                queue_recover();
                queue_sweep();
                sender.sweep_at_ms = now + SWEEP_MS;
            }
            if (queue_woken()) {
                sender.take_at_ms = now > sender.paced_ms ? now : sender.paced_ms;
                sender.drained = false;
            }
            if (sender.idle)
                sender.take_at_ms = now + SWEEP_MS;
            else if (now >= sender.take_at_ms && (!sender.live || post_room() > 0) && !(database = take(now)))
                sender.take_at_ms = now + SWEEP_MS;
            if (sender.options.end_ms == 0 && post_room() == POST_MAX && sender.n_ended == 0 && !database) {
                fprintf(stderr, "selliko-send-whatsapp: the database is away\n");
                return EX_TEMPFAIL;
            }
            if (sender.options.end_ms == 0 && post_room() == POST_MAX && sender.n_ended == 0 && (sender.drained || sender.idle)) {
                sender.stopping = true;   /* nothing is due, and nobody asked to wait for more */
                continue;
            }
        }

        next = FOREVER_MS;
        if (sender.n_ended > 0)
            next = RETRY_RECORD_MS;
        if (!sender.stopping) {
            int64_t at = sender.sweep_at_ms;

            if ((!sender.live || post_room() > 0) && sender.take_at_ms < at)
                at = sender.take_at_ms;
            if (sender.options.end_ms != 0 && sender.options.end_ms < at)
                at = sender.options.end_ms;
            if (at - now < next)
                next = at - now;
        }
        if (next > 0)
            post_wait((const int[]){ queue_fd(), sender.signal_fd }, 2, (int)(next > SWEEP_MS ? SWEEP_MS : next));
    }
}

int
main(int argc, char **argv)
{
    int code;

    if ((code = options_read("selliko-send-whatsapp", argc, argv, &sender.options)) >= 0)
        return code;
    if (!config_load(stderr))
        return EX_CONFIG;
    log_open("selliko-send-whatsapp", config()->log_level);
    if ((code = begin()) != EX_OK)
        return code;
    code = run();
    if (sender.options.verbose)
        log_info("done", log_i("sent", (int64_t)sender.n_sent), log_i("failed", (int64_t)sender.n_failed),
                 log_i("again", (int64_t)sender.n_again));
    post_close();
    queue_close();
    return code;
}
