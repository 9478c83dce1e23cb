'use strict';
// Every endpoint × five roles × own and foreign object, as doc/openapi.yaml promises it: who is not
// served is told so, changes nothing and learns nothing.  Made from the document: a new operation is
// tried at once, and needs at most a line in `bodies` below.
const test = require('node:test');
const assert = require('node:assert/strict');
const crypto = require('node:crypto');
const { cases, withToken, ROLES } = require('./lib/matrix');
const { makeWorld, digest } = require('./lib/world');
const { shared, multipart, signInAs, photos } = require('./lib');

const w = shared();
const service = {
    request(method, path, { token, json: value, parts } = {}) {
        const { body, headers } = parts ? multipart(parts) : {};
        return w.request(method, path, { token, json: value, body, headers });
    },
    async signIn(phone) {
        const { user, token, refreshToken } = await signInAs(w, phone);
        return { user, accessToken: token, refreshToken };
    },
    async addUser(phone, role, name) {
        const told = await w.ctl('user', 'add', '--phone', phone, '--role', role, '--name', name);
        return told.match(/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/)[0];
    },
    async sql(text) {
        return (await w.sqlLater(text)).split('\n').filter(Boolean).map((line) => line.split('|'));
    },
    photo: photos.small(),
};

let world;
const nobody = () => `${crypto.randomUUID()}`;
const pairs = { CLIENT: ['clientA', 'clientB'], VENDOR: ['vendorA', 'vendorB'], AGENT: ['agentA', 'agentB'], ADMIN: ['adminA', 'adminB'] };

// Who asks: A has a part in everything, B in nothing.
const callerOf = (c) => (c.role === 'ANONYMOUS' ? { who: 'nobody' } : world.people[pairs[c.role][c.object === 'foreign' ? 1 : 0]]);

// The object that a case is about.  Foreign listings are those that only owner and administrators know of.
function objectOf(c) {
    const theirs = world.people[pairs[c.role === 'ANONYMOUS' ? 'CLIENT' : c.role][0]];
    const hidden = c.object === 'foreign' || c.role === 'CLIENT' || c.role === 'ADMIN';
    if (c.template.startsWith('/listings/{id}/assign-agent')) return world.sold.id;
    if (c.template.startsWith('/listings/{id}/approve')) return world.pending.id;
    if (c.template.startsWith('/listings/{id}')) return hidden ? world.pending.id : world.live.id;
    if (c.template.startsWith('/orders/{id}')) return world.orderId;
    if (c.template.startsWith('/agent/tasks/{id}')) return world.taskId;
    if (c.template.startsWith('/notifications/{id}')) return theirs.notification;
    if (c.template.startsWith('/auth/sessions/{id}')) return theirs.session;
    if (c.template.startsWith('/admin/users/{id}')) return world.people.clientB.id;
    assert.fail(`which object is ${c.template} about?`);
}

// What is sent: right, so that only the caller is wrong; and such that who is let in breaks nothing.
const form = (make) => () => ({ parts: Object.entries(make()).map(([name, v]) => (Buffer.isBuffer(v) ? { name, data: v } : { name, value: v })) });
const json = (make) => (c) => ({ json: make(c) });
const bodies = {
    sendOtp: json(() => ({ phone: `+916${String(crypto.randomInt(1e9)).padStart(9, '0')}` })),
    verifyOtp: json(() => ({ phone: `+916${String(crypto.randomInt(1e9)).padStart(9, '0')}`, otp: '000000', otpId: nobody() })),
    refreshToken: json(() => ({ refreshToken: 'not-a-token' })),
    updateMe: json(() => ({})),
    createListing: form(() => ({ brand: 'Apple' })),
    reviewListing: json(() => ({ approved: false })),                   // no reason: a 400 for who is let in
    assignAgent: json(() => ({ agentId: world.people.agentA.id, type: 'delivery' })), // too early: a 409
    placeBid: json((c) => ({ listingId: c.object === 'foreign' ? world.pending.id : world.live.id, amount: 9000 })),
    moveOrder: json(() => ({ status: 'pending_pickup' })),              // no such step: a 409
    rateOrder: json(() => ({ rating: 5 })),                             // not delivered: a 409
    completeTask: json(() => ({})),
    failTask: json(() => ({ reason: 'nobody at home' })),
    updateUser: json(() => ({})),
    updatePreferences: json(() => ({})),
    uploadVerification: form(() => ({ orderId: world.orderId, photo: service.photo })),
    receiveWebhook: json(() => ({ object: 'whatsapp_business_account', entry: [] })),
};
const WITHOUT_BODY = new Set(['logout', 'revokeSession', 'watchListing', 'unwatchListing', 'acceptTask', 'startTask', 'readNotification', 'readAllNotifications']);

function requestOf(c, other) {
    const caller = other ?? callerOf(c);
    let path = c.template;
    if (path.includes('{id}')) path = path.replace('{id}', objectOf(c));
    if (path.startsWith('/files/listings/')) path = new URL(path.includes('/bill/') ? world.sold.bill : world.sold.photo).pathname;
    if (path.startsWith('/files/verification/')) path = `/files/verification/${world.orderId}/photo.jpg`;
    if (c.filter) path += `?${c.filter}=${world.people.vendorC.id}`;
    assert.ok(c.method === 'GET' || bodies[c.operationId] || WITHOUT_BODY.has(c.operationId), `what does ${c.operationId} send?`);
    // who may end his session ends the spare one, for the other is needed
    const token = c.operationId === 'logout' && !other ? caller.spare : caller.token;
    return { method: c.method, path, options: { token, ...bodies[c.operationId]?.(c) } };
}

async function ask(c, caller) {
    const { method, path, options } = requestOf(c, caller);
    const answer = await service.request(method, path, options);
    const who = (caller ?? callerOf(c)).who;
    for (const { what, mark, seenBy } of world.secrets) {
        if (!seenBy.has(who) && answer.text.includes(mark) && !path.includes(mark)) {
            assert.fail(`${method} ${path} tells ${who} ${what}: ${answer.text.slice(0, 2000)}`);
        }
    }
    return answer;
}

const about = (c) => `${c.role} ${c.method} ${c.template}${c.filter ? `?${c.filter}=somebody` : ''}${c.object ? ` (${c.object})` : ''}`;
const byOperation = (some) => [...some.reduce((m, c) => m.set(c.operationId, [...(m.get(c.operationId) ?? []), c]), new Map())];
const all = cases();
const openToAll = new Set(byOperation(all).filter(([, some]) => some.every((c) => c.expect === null)).map(([operationId]) => operationId));

test.before(async () => { world = await makeWorld(service); }, { timeout: 120000 });

for (const [operationId, some] of byOperation(all.filter((c) => c.expect))) {
    test(`${operationId} refuses ${[...new Set(some.map((c) => `${c.role}${c.object === 'foreign' ? ' (foreign)' : ''}`))].join(', ')}, and nothing changes`, async () => {
        const before = await digest(service.sql, world);
        for (const c of some) {
            const { status, body, text } = await ask(c);
            assert.deepEqual({ status, code: body?.code }, c.expect, `${about(c)}: ${text}`);
            if (c.expect.code === 'forbidden') assert.equal(body.error, 'Insufficient permissions', about(c));
        }
        assert.deepEqual(await digest(service.sql, world), before);
    });
}

test('a token that is forged, of another algorithm, of an ended session or of a disabled account opens nothing', async () => {
    const good = world.people.adminA.token;
    const [, claims, signature] = good.split('.');
    const b64 = (x) => Buffer.from(JSON.stringify(x)).toString('base64url');
    const admin = { ...JSON.parse(Buffer.from(claims, 'base64url')), role: 'ADMIN' };
    const ended = (await service.signIn(world.people.clientB.phone)).accessToken;
    await service.request('POST', '/auth/logout', { token: ended });
    const tokens = {
        garbage: 'garbage',
        'no signature': `${b64({ alg: 'none', typ: 'JWT' })}.${claims}.`,
        'another role': `${good.split('.')[0]}.${b64({ ...admin, userId: world.people.clientB.id })}.${signature}`,
        'another algorithm': `${b64({ alg: 'HS512', typ: 'JWT' })}.${claims}.${signature}`,
        'cut short': good.slice(0, -4),
        'an ended session': ended,
    };
    const before = await digest(service.sql, world);
    for (const c of withToken()) {
        for (const [what, token] of Object.entries(tokens)) {
            const { status, body, text } = await ask(c, { who: 'nobody', token });
            assert.deepEqual({ status, code: body?.code }, { status: 401, code: 'unauthenticated' }, `${what}: ${c.method} ${c.template}: ${text}`);
        }
        const { status, body, text } = await ask(c, world.people.disabled);
        assert.deepEqual({ status, code: body?.code }, { status: 403, code: 'account_disabled' }, `disabled: ${c.method} ${c.template}: ${text}`);
    }
    assert.deepEqual(await digest(service.sql, world), before);
});

for (const c of all.filter((x) => !x.expect && !openToAll.has(x.operationId))) {
    test(`${about(c)} is let in`, async () => {
        const { status, text } = await ask(c);
        assert.ok(![401, 403, 404, 405, 429].includes(status) && status < 500, `${about(c)}: ${status} ${text}`);
    });
}

for (const [operationId, some] of byOperation(all.filter((c) => openToAll.has(c.operationId)))) {
    test(`${operationId} asks nobody who he is, and tells nobody what is not for him`, async () => {
        const statuses = new Set();
        for (const c of some) statuses.add((await ask(c)).status);
        assert.equal(statuses.size, 1, `${operationId}: ${[...statuses]}`);
        assert.ok([...statuses][0] < 500);
    });
}

test('a signed URL opens its own folder and no other, whoever asks', async () => {
    const { sold, pending } = world;
    const query = new URL(sold.photo).search;
    const path = (url) => new URL(url).pathname;
    for (const role of ROLES) {
        const token = role === 'ANONYMOUS' ? undefined : world.people[pairs[role][1]].token;
        const status = async (p) => (await service.request('GET', p, { token })).status;
        assert.equal(await status(path(sold.photo) + query), 200, role);
        assert.equal(await status(path(sold.photo)), 403, role);
        assert.equal(await status(path(sold.bill) + query), 403, role);
        assert.equal(await status(path(pending.photo) + query), 403, role);
        assert.equal(await status(`/files/verification/${world.orderId}/photo.jpg${query}`), 403, role);
        assert.equal(await status(path(sold.photo) + query.replace(/exp=\d+/, 'exp=4102444800')), 403, role);
    }
});

test('bill and photo of a verification are for those to whom their URLs are told, and gone is gone', async () => {
    const { sold, people } = world;
    const proof = await service.request('POST', '/files/verification', { token: people.agentA.token, parts: [{ name: 'orderId', value: world.orderId }, { name: 'photo', data: service.photo }] });
    assert.equal(proof.status, 201, proof.text);
    for (const url of [sold.bill, proof.body.url].map((u) => new URL(u))) {
        const first = await w.request('GET', url.pathname + url.search);
        assert.equal(first.status, 200, url.pathname);
        assert.equal((await w.request('GET', url.pathname + url.search, { headers: { 'if-none-match': first.headers.etag } })).status, 304);
        assert.equal((await w.request('GET', url.pathname)).status, 403);
        assert.equal((await w.request('GET', url.pathname.replace(/[^/]+$/, url.pathname.includes('/bill/') ? 'bill.png' : 'none.jpg') + url.search)).status, 404);
    }
});

test('a page of anything holds only what its reader may see', async () => {
    for (const { who, token } of [{ who: 'nobody' }, ...Object.values(world.people).filter((p) => p.who !== 'disabled')]) {
        for (const path of ['/listings?limit=100', '/listings?status=pending', `/listings?clientId=${world.people.clientA.id}`, `/listings?searchQuery=${world.mark}`,
            `/listings/${world.live.id}`, `/listings/${world.sold.id}`, '/marketplace?limit=100', `/marketplace?search=${world.mark}`,
            '/bids', `/bids?listingId=${world.live.id}`, `/bids?listingId=${world.sold.id}`, '/orders', `/orders?status=pending_pickup`, '/notifications?limit=100', '/agent/tasks', '/auth/sessions']) {
            const answer = await service.request('GET', path, { token });
            for (const { what, mark, seenBy } of world.secrets) {
                assert.ok(seenBy.has(who) || !answer.text.includes(mark), `GET ${path} tells ${who} ${what}: ${answer.text.slice(0, 3000)}`);
            }
        }
    }
});
