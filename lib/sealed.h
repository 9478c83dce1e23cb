/* sealed -- every column that holds sealed values: X(table, column, the field's name (associated data),
 * the uuid column to which its values are bound).  sellikoctl rotate-key goes through them all, so a new
 * one stands here or loses its key. */
#ifndef SELLIKO_SEALED_H
#define SELLIKO_SEALED_H

#define SEALED_COLUMNS(X) \
    X("users", "phone_sealed", "users.phone", "id") \
    X("listings", "imei1_sealed", "listings.imei1", "id") \
    X("listings", "imei2_sealed", "listings.imei2", "id") \
    X("listings", "street_sealed", "listings.street", "id") \
    X("listings", "landmark_sealed", "listings.landmark", "id") \
    X("idempotency_keys", "answer", "idempotency_keys.answer", "user_id") \
    X("whatsapp_queue", "recipient", "whatsapp_queue.recipient", "seal_id") \
    X("whatsapp_queue", "secret", "whatsapp_queue.secret", "seal_id")

#endif
