/* form -- see form.h. */
#include "form.h"

#include "store.h"

static ssize_t
read_body(void *ctx, void *buf, size_t len)
{
    return req_read(ctx, buf, len);
}

static reply
refuse_form(struct req *r, enum upload_error e, const struct upload *form)
{
    switch (e) {
    case UPLOAD_NOT_FORM_DATA:
        return failf(r, ERR_UNSUPPORTED_MEDIA_TYPE, "Send the body as multipart/form-data.");
    case UPLOAD_DUPLICATE_FIELD:
        return fail_field(r, form->field, "was given more than once");
    case UPLOAD_FIELD_TOO_LARGE:
        return failf(r, ERR_PAYLOAD_TOO_LARGE, "%s is too long.", form->field != NULL ? form->field : "The form");
    case UPLOAD_FILE_TOO_LARGE:
        return failf(r, ERR_PAYLOAD_TOO_LARGE, "%s is larger than 5 MB.", form->field);
    case UPLOAD_MALFORMED: case UPLOAD_ABORTED:
        return fail(r, ERR_MALFORMED_MULTIPART);
    case UPLOAD_TOO_MANY_PARTS:
        return failf(r, ERR_MALFORMED_MULTIPART, "The form has too many parts.");
    case UPLOAD_STORAGE_FULL: case UPLOAD_STORAGE_FAILED: case UPLOAD_OK:
        break;
    }
    give_up(r, ERR_UNAVAILABLE);
}

bool
form_read(struct req *r, struct store *store, struct upload **form, reply *refusal)
{
    (void)req_user(r);   /* before megabytes are read */
    db_let_go(r);
    enum upload_error e = upload_read(r->arena, store, req_content_type(r), read_body, r, &UPLOAD_LIMITS, form);
    if (e != UPLOAD_OK) {
        *refusal = refuse_form(r, e, *form);
        return false;
    }
    for (size_t i = 0; i < (*form)->n_fields; i++)
        req_form_field(r, (*form)->fields[i].name, (*form)->fields[i].value, (*form)->fields[i].len);
    return true;
}
