'use strict';
// A small world for the authorisation matrix: two of each role, and one of each thing that belongs to
// somebody, with marks in every private field, so that a mark in an answer tells that it leaked.
//
// Everything is made through the API of a running service, reached by what the caller hands in:
//   request(method, path, {token, json, parts}) -> {status, text, body}     (parts: of a form, see http.js)
//   signIn(phone) -> {user, accessToken, refreshToken}
//   addUser(phone, role, name) -> id        (sellikoctl user add)
//   sql(statement) -> rows as arrays of text
//   photo -> Buffer of a JPEG
const crypto = require('node:crypto');

const digits = (n) => Array.from({ length: n }, () => crypto.randomInt(10)).join('');
const phone = () => `+916${digits(9)}`;

async function makeWorld({ request, signIn, addUser, sql, photo }) {
    const mark = crypto.randomBytes(4).toString('hex');

    async function must(method, path, options, status = 200) {
        const r = await request(method, path, options);
        if (r.status !== status) throw new Error(`${method} ${path} answered ${r.status}, not ${status}: ${r.text}`);
        return r.body;
    }

    const people = {};
    for (const [who, role] of Object.entries({
        clientA: 'CLIENT', clientB: 'CLIENT', vendorA: 'VENDOR', vendorB: 'VENDOR', vendorC: 'VENDOR',
        agentA: 'AGENT', agentB: 'AGENT', adminA: 'ADMIN', adminB: 'ADMIN', disabled: 'CLIENT',
    })) {
        const person = { who, role, phone: phone(), name: `Name of ${who} ${mark}`, note: `note-${who}-${mark}` };
        person.id = await addUser(person.phone, role, person.name);
        ({ accessToken: person.token } = await signIn(person.phone));
        await must('PUT', '/users/me', { token: person.token, json: { metadata: { note: person.note } } });
        people[who] = person;
    }
    const { clientA, clientB, vendorA, vendorC, agentA, adminA, disabled } = people;

    async function list(name) {
        const thing = {
            imei1: digits(15), imei2: digits(15), street: `street-${name}-${mark}`, landmark: `landmark-${name}-${mark}`, contact: `contact-${name}-${mark}`,
        };
        const parts = Object.entries({
            brand: 'Apple', model: `iPhone ${mark}`, storage: '128GB', color: 'Blue', condition: 'Good', imei1: thing.imei1, imei2: thing.imei2,
            batteryHealth: '88', askingPrice: '25000', description: `matrix ${mark}`, hasWarranty: 'false', streetAddress: thing.street,
            landmark: thing.landmark, city: 'Kochi', state: 'Kerala', pincode: '682001', pickupTime: 'morning', contactName: thing.contact,
        }).map(([key, value]) => ({ name: key, value }));
        for (const field of ['devicePhoto0', 'devicePhoto1', 'devicePhoto2', 'devicePhoto3', 'billPhoto']) parts.push({ name: field, data: photo });
        const { listing } = await must('POST', '/listings', { token: clientA.token, parts }, 201);
        return Object.assign(thing, { id: listing.id, photo: listing.photos[0].thumb, bill: listing.billPhoto });
    }
    const approve = (listing) => must('PUT', `/listings/${listing.id}/approve`, { token: adminA.token, json: { approved: true } });

    const pending = await list('pending');
    const live = await list('live');
    await approve(live);
    await must('POST', '/bids', { token: vendorC.token, json: { listingId: live.id, amount: 5000 } }, 201);
    await must('POST', `/listings/${live.id}/watch`, { token: clientB.token });

    const sold = await list('sold');
    await approve(sold);
    await must('POST', '/bids', { token: vendorC.token, json: { listingId: sold.id, amount: 5000 } }, 201);
    const { orderId } = await must('POST', '/bids', { token: vendorA.token, json: { listingId: sold.id, amount: 25000 } }, 201);
    const { assignment } = await must('PUT', `/listings/${sold.id}/assign-agent`, { token: adminA.token, json: { agentId: agentA.id } });

    // Administrators get no notifications by themselves.
    await sql(`INSERT INTO notifications (user_id, type, priority, title, message) VALUES ('${adminA.id}', 'order_update', 'low', 'Title', 'note-adminA-${mark}')`);

    // For each role that signs in: A, who has a part in all of the above, and B, who has none.
    for (const [role, own] of Object.entries({ CLIENT: clientA, VENDOR: vendorA, AGENT: agentA, ADMIN: adminA })) {
        const { notifications } = await must('GET', '/notifications', { token: own.token });
        if (!notifications.length) throw new Error(`nobody told ${role} anything`);
        own.notification = notifications[0].id;
        // Two more sessions, to be ended: one by its own token, one by its id.
        own.spare = (await signIn(own.phone)).accessToken;
        const { accessToken: another } = await signIn(own.phone);
        own.session = (await must('GET', '/auth/sessions', { token: another })).sessions.find((s) => s.current).id;
    }
    await must('PUT', `/admin/users/${disabled.id}`, { token: adminA.token, json: { isActive: false } });

    // Who may see what.  A mark in an answer to anybody else has leaked.
    const admins = ['adminA', 'adminB'];
    const secrets = [];
    const hide = (what, mark_, ...seenBy) => secrets.push({ what, mark: mark_, seenBy: new Set([...admins, ...seenBy]) });
    for (const p of Object.values(people)) {
        const others = { clientA: ['agentA'], vendorA: ['agentA'], agentA: ['clientA', 'vendorA'] }[p.who] ?? []; // the order's people
        hide(`${p.who}'s phone`, p.phone.slice(3), p.who, ...others);
        hide(`${p.who}'s metadata`, p.note, p.who);
        const partners = ['clientA', 'vendorA', 'agentA'];
        hide(`${p.who}'s name`, p.name, p.who, ...(partners.includes(p.who) ? partners : []));
    }
    hide('the id of a vendor who only bid', vendorC.id, 'vendorC');
    hide('the id of a watcher', clientB.id, 'clientA', 'clientB');
    for (const [name, l, others] of [['pending', pending, []], ['live', live, []], ['sold', sold, ['agentA']]]) {
        for (const key of ['imei1', 'imei2', 'street', 'landmark', 'contact']) hide(`${key} of the ${name} listing`, l[key], 'clientA', ...others);
        hide(`the bill of the ${name} listing`, `${l.id}/bill/`, 'clientA', ...others);
    }
    hide('that there is a pending listing', pending.id, 'clientA');
    hide('that there is an order', orderId, 'clientA', 'vendorA', 'agentA');
    hide('that there is a task', assignment.id, 'agentA');
    for (const p of [clientA, vendorA, agentA, adminA]) {
        hide(`${p.who}'s session`, p.session, p.who); // administrators find it in the audit log
        secrets.push({ what: `${p.who}'s notification`, mark: p.notification, seenBy: new Set([p.who]) });
    }

    return { mark, people, pending, live, sold, orderId, taskId: assignment.id, secrets };
}

// A digest of all that is stored about this world, so that "nothing changed" can be said while other
// tests go on beside.  What moves by itself is left out: when a session was last used, how far a message
// has come, counters of rates, utilities' notes.
async function digest(sql, world) {
    const moving = {
        sessions: ['last_used_at'],
        notifications: ['sent_via_whatsapp', 'whatsapp_message_id', 'whatsapp_status'],
        whatsapp_queue: ['status', 'attempts', 'next_at', 'lease_until', 'finished_at', 'message_id', 'error_code', 'error'],
    };
    const ours = [...Object.values(world.people).map((p) => p.id), world.pending.id, world.live.id, world.sold.id, world.orderId].join('|');
    const tables = (await sql(`SELECT c.relname FROM pg_class c WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r'
        AND c.relname NOT IN ('rate_limits', 'service_state') ORDER BY 1`)).map(([name]) => name);
    const rows = await sql(tables.map((t) => `SELECT '${t}', count(*), md5(coalesce(string_agg(x, '' ORDER BY x), ''))
        FROM (SELECT (to_jsonb(t) - '{${(moving[t] ?? []).join(',')}}'::text[])::text AS x FROM "${t}" t) s WHERE x ~ '${ours}'`).join(' UNION ALL '));
    return Object.fromEntries(rows.map(([table, n, hash]) => [table, `${n} rows ${hash}`]));
}

module.exports = { makeWorld, digest };
