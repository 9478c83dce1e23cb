/* ngx_http_handover_module -- once a WebSocket is open, nginx has no more to say in it: this module gives the client's
 * connection to the gateway, which then writes to the client itself instead of by way of nginx.
 *
 *     client ──── request ────► nginx ──── request, X-Handover: yes ────► gateway
 *            ◄──── 101 ────────       ◄──── 101, X-Handover: yes ────────         (and says no more until it has …)
 *                                     ───── the client's descriptor ────►
 *            ◄═════════════════ frames, both ways ══════════════════════►
 *
 * Everything until then is proxied as ever: limits, the choice of the gateway, the request's headers, those of the answer,
 * the access log.  The descriptor (SCM_RIGHTS) goes over the very connection that nginx has to the gateway, so there is no
 * socket more to guard, and it comes to the process that owns the session.  Both ends have to have agreed before, in the
 * header X-Handover (realtime.conf sets and hides it, so that a client can neither ask for it nor see it).
 *
 * What cannot be handed over is proxied to its end: TLS and HTTP/2 (the keys are in nginx), a client that sent more than
 * its request already, a gateway at a TCP address, a socket that takes no descriptor just now.  The gateway waits a moment
 * for a descriptor and then goes on through nginx; see realtime/handover.c.
 *
 * Written against nginx 1.22; what of its inside is relied upon is said where it is.  Built by realtime/local.mk. */
#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>
#include <ngx_http.h>

/* A dynamic module brings these along; nginx's configure would generate them. */
extern ngx_module_t  ngx_http_handover_module;
extern ngx_module_t *ngx_modules[];
extern char         *ngx_module_names[], *ngx_module_order[];

static ngx_http_output_header_filter_pt next_header_filter;

/* Whether the connection behind a request could be given away: all that it brought is the request. */
static ngx_uint_t
can_be_given(ngx_http_request_t *r)
{
    ngx_connection_t *c = r->connection;
    ngx_table_elt_t  *upgrade = r->headers_in.upgrade;

    return r == r->main && !r->stream && r->http_version == NGX_HTTP_VERSION_11 && r->method == NGX_HTTP_GET &&
           upgrade && upgrade->value.len == 9 && ngx_strncasecmp(upgrade->value.data, (u_char *)"websocket", 9) == 0 &&
           r->headers_in.content_length_n <= 0 && !r->headers_in.chunked && r->header_in->pos == r->header_in->last &&
           !c->ssl && c->type == SOCK_STREAM && (ngx_event_flags & NGX_USE_EPOLL_EVENT);
}

/* $handover: "yes" where it is offered to the gateway, else empty, and then nginx sends no such header. */
static ngx_int_t
handover_variable(ngx_http_request_t *r, ngx_http_variable_value_t *v, uintptr_t data)
{
    (void)data;
    v->valid = 1;
    v->no_cacheable = 1;
    v->not_found = 0;
    v->data = (u_char *)"yes";
    v->len = can_be_given(r) ? 3 : 0;
    return NGX_OK;
}

/* Whether this is the answer of a gateway that waits for the descriptor, and has said nothing else. */
static ngx_uint_t
is_waited_for(ngx_http_request_t *r)
{
    ngx_http_upstream_t *u = r->upstream;

    if (r->headers_out.status != NGX_HTTP_SWITCHING_PROTOCOLS || !u || !u->upgrade || !u->peer.connection ||
        !u->peer.sockaddr || u->peer.sockaddr->sa_family != AF_UNIX || u->buffer.pos != u->buffer.last)
        return 0;
    for (ngx_list_part_t *part = &u->headers_in.headers.part; part; part = part->next) {
        ngx_table_elt_t *header = part->elts;
        for (ngx_uint_t i = 0; i < part->nelts; i++)
            if (header[i].key.len == 10 && ngx_strncasecmp(header[i].key.data, (u_char *)"X-Handover", 10) == 0)
                return 1;
    }
    return 0;
}

/* Sends a descriptor with a byte that means nothing; a byte there must be. */
static ngx_int_t
give(ngx_socket_t to, ngx_socket_t fd)
{
    union {
        struct cmsghdr head; /* for its alignment */
        char           room[CMSG_SPACE(sizeof(int))];
    } control;
    char            byte = 0;
    struct iovec    iov = {.iov_base = &byte, .iov_len = 1};
    struct msghdr   message = {
          .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.room, .msg_controllen = sizeof(control.room)};
    struct cmsghdr *cmsg = CMSG_FIRSTHDR(&message);

    ngx_memzero(&control, sizeof(control));
    cmsg->cmsg_level = SOL_SOCKET;
    cmsg->cmsg_type = SCM_RIGHTS;
    cmsg->cmsg_len = CMSG_LEN(sizeof(int));
    ngx_memcpy(CMSG_DATA(cmsg), &fd, sizeof(int));
    return sendmsg(to, &message, MSG_NOSIGNAL | MSG_DONTWAIT) == 1 ? NGX_OK : NGX_ERROR;
}

static ngx_int_t
handover_header_filter(ngx_http_request_t *r)
{
    ngx_connection_t *c = r->connection;
    ngx_int_t         rc;

    if (!is_waited_for(r) || !can_be_given(r))
        return next_header_filter(r);
    rc = next_header_filter(r);
    if (rc == NGX_ERROR || rc > NGX_OK)
        return rc;
    /* The client must have the whole 101 before anything else can come to it.  Nobody but us is called back for this
     * connection meanwhile: nginx does one thing at a time. */
    if (ngx_http_send_special(r, NGX_HTTP_FLUSH) == NGX_ERROR)
        return NGX_ERROR;
    if (c->buffered || r->out || give(r->upstream->peer.connection->fd, c->fd) != NGX_OK)
        return rc;

    /* It is another's now.  epoll keeps what is open anywhere, so it has to be told; close() alone does that only for the
     * last descriptor.  The answer NGX_ERROR, before the header counts as sent (u->header_sent), makes nginx terminate
     * the request: it writes the access log and closes its two descriptors, with neither shutdown() nor SO_LINGER, which
     * would reach the connection itself. */
    if (c->read->active || c->write->active)
        ngx_del_conn(c, 0);
    return NGX_ERROR;
}

static ngx_int_t
add_variable(ngx_conf_t *cf)
{
    ngx_str_t            name = ngx_string("handover");
    ngx_http_variable_t *v = ngx_http_add_variable(cf, &name, NGX_HTTP_VAR_NOCACHEABLE);

    if (!v)
        return NGX_ERROR;
    v->get_handler = handover_variable;
    return NGX_OK;
}

static ngx_int_t
add_filter(ngx_conf_t *cf)
{
    (void)cf;
    next_header_filter = ngx_http_top_header_filter;
    ngx_http_top_header_filter = handover_header_filter;
    return NGX_OK;
}

static ngx_http_module_t context = {.preconfiguration = add_variable, .postconfiguration = add_filter};

ngx_module_t ngx_http_handover_module = {
    NGX_MODULE_V1, &context, NULL, NGX_HTTP_MODULE, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NGX_MODULE_V1_PADDING,
};

/* Before the copy filter in nginx's list: so it is asked before the one of add_header, and calls that. */
ngx_module_t *ngx_modules[] = {&ngx_http_handover_module, NULL};
char         *ngx_module_names[] = {(char *)"ngx_http_handover_module", NULL};
char         *ngx_module_order[] = {(char *)"ngx_http_handover_module", (char *)"ngx_http_copy_filter_module", NULL};
