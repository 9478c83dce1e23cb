'use strict';
// What doc/openapi.yaml promises of every operation alike, tried with every operation: a filter or a
// field that is not of its type, out of its bounds or not in its set is named in a 400; a body that is
// no JSON, of another media type or too large; an expired token; a method or an id that is none.
// Made from the document, so a new field or filter is tried at once.
const { test, before } = require('node:test');
const assert = require('node:assert/strict');
const crypto = require('node:crypto');
const { shared, signIn, forge, claims, multipart, liveListing } = require('./lib');
const { api, check, document } = require('./lib/openapi');
const http = require('node:http');

const w = shared();
const people = {};
let listing;
before(async () => {
    for (const role of ['CLIENT', 'VENDOR', 'AGENT', 'ADMIN']) people[role] = await signIn(w, role);
    listing = await liveListing(w, people.CLIENT, people.ADMIN);
}, { timeout: 120000 });

const operations = Object.entries(document.paths).flatMap(([template, item]) =>
    ['get', 'put', 'post', 'delete'].filter((m) => item[m]).map((m) => ({ template, item, method: m.toUpperCase(), operation: item[m], name: `${m.toUpperCase()} ${template}` })));
const roleOf = ({ operation }) => operation['x-roles'].find((r) => r !== 'ANONYMOUS');
const needsToken = ({ operation }) => !operation['x-roles'].includes('ANONYMOUS');
const readsToken = ({ operation }) => (operation.security ?? document.security).some((s) => 'bearer' in s);
const tokenOf = (o) => (readsToken(o) ? people[roleOf(o)].token : undefined);
const pathOf = ({ template }) => template.replace('{id}', () => crypto.randomUUID());
const bodyOf = ({ operation }, type) => { const c = operation.requestBody?.content[type]; return c && api.resolve(c.schema).node; };
const jsonOf = (o) => bodyOf(o, 'application/json');
const formOf = (o) => bodyOf(o, 'multipart/form-data');
// What only matters beside something else
const beside = { 'reviewListing rejectionReason': { approved: false }, 'reviewListing auctionDurationHours': { approved: true } };
const ask = (o, options, path = pathOf(o)) => w.request(o.method, path, { token: tokenOf(o), ...options });

function refused(r, status, code, what) {
    assert.deepEqual({ status: r.status, code: r.body?.code }, { status, code }, `${what}: ${r.text.slice(0, 500)}`);
}
function names(r, field, what) {
    refused(r, 400, 'validation_failed', what);
    assert.ok(r.body.details?.some((d) => d.field === field || d.field.startsWith(`${field}.`) || d.field.startsWith(`${field}[`)), `${what}: ${field} is not named: ${r.text}`);
}

// The schema behind references; of several forms (a number or a string of digits) the first.
function plain(schema) {
    const { node } = api.resolve(schema);
    const all = node.oneOf ?? node.anyOf;
    return all ? { ...plain(all[0]), ...(node.pattern && { pattern: node.pattern }) } : node;
}
const typesOf = (schema) => [plain(schema).type].flat().filter((t) => t !== 'null');

// Texts that are not what the schema says, for a query or a form.
function wrongTexts(schema) {
    const s = plain(schema);
    const [type] = typesOf(schema);
    if (s.const) return ['nonsense'];
    if (s.enum) return ['nonsense', s.enum[0].toUpperCase() === s.enum[0] ? s.enum[0].toLowerCase() : s.enum[0].toUpperCase(), `${s.enum[0]},${s.enum[1]}`];
    if (s.format === 'uuid') return ['nonsense', '123', `${crypto.randomUUID()}0`];
    if (s.format === 'date') return ['yesterday', '2026-02-30', '2026-13-01', '20260101x'];
    if (type === 'boolean') return ['maybe', '2'];
    if (type === 'integer') return ['x', '1.5', '1e3', '0x10', '99999999999999999999', ...(s.minimum !== undefined ? [String(s.minimum - 1)] : []), ...(s.maximum !== undefined ? [String(s.maximum + 1)] : [])];
    if (type === 'number') {
        return ['x', '1e5', '0x10', '25000.555', ...(s.minimum !== undefined ? [(s.minimum - 0.01).toFixed(2)] : []), ...(s.maximum !== undefined ? [(s.maximum + 0.01).toFixed(2)] : [])];
    }
    if (s.pattern) return ['nonsense', '1'];
    if (s.maxLength) return ['x'.repeat(s.maxLength + 1)];
    return [];
}
// Values that are not what the schema says, for a JSON body.
function wrongValues(schema) {
    const s = plain(schema);
    const [type] = typesOf(schema);
    const values = type === 'object' || type === 'array' ? ['text', 1, true] : [{}, [], ...(type === 'boolean' ? [] : [true]), ...(type === 'string' ? [1] : [])];
    if (type === 'array') values.push(Array.from({ length: s.maxItems + 1 }, () => 'x'));
    if (type === 'object') values.push([]);
    if (s.exclusiveMinimum !== undefined) values.push(s.exclusiveMinimum, -1);
    if (type === 'string' && s.minLength) values.push('   ');
    return [...values, ...(type === 'object' || type === 'array' ? [] : wrongTexts(schema))];
}

for (const o of operations) {
    const filters = [...(o.item.parameters ?? []), ...(o.operation.parameters ?? [])].map((p) => api.resolve(p).node).filter((p) => p.in === 'query');
    if (filters.length && !o.template.startsWith('/files/') && !o.template.startsWith('/webhooks/')) {
        test(`${o.name} names a filter that is not right, and never ignores it`, async () => {
            for (const { name, schema } of filters) {
                const empty = typesOf(schema)[0] !== 'string' || plain(schema).maxLength === undefined || plain(schema).minLength ? [''] : [];
                for (const value of [...wrongTexts(schema), ...empty]) names(await ask(o, {}, `${pathOf(o)}?${new URLSearchParams({ [name]: value })}`), name, `${o.name}?${name}=${value}`);
            }
            const wrong = filters.filter(({ schema }) => wrongTexts(schema).length);
            const r = await ask(o, {}, `${pathOf(o)}?${new URLSearchParams(wrong.map(({ name, schema }) => [name, wrongTexts(schema)[0]]))}`);
            assert.deepEqual([...new Set(r.body.details.map((d) => d.field))].sort(), wrong.map((f) => f.name).sort(), 'all at once');
        });
    }
}

for (const o of operations.filter((x) => jsonOf(x) && !x.template.startsWith('/webhooks/'))) {
    const { properties, required = [] } = jsonOf(o);
    test(`${o.name} names a field that is not right`, async () => {
        for (const [field, schema] of Object.entries(properties)) {
            for (const value of wrongValues(schema)) names(await ask(o, { json: { ...beside[`${o.operation.operationId} ${field}`], [field]: value } }), field, `${o.name} ${field}=${JSON.stringify(value).slice(0, 80)}`);
        }
    });
    test(`${o.name} names all that is missing`, async () => {
        const r = await ask(o, { json: {} });
        if (!required.length) return assert.notEqual(r.status, 400, r.text);
        refused(r, 400, 'validation_failed', o.name);
        for (const field of required) names(r, field, o.name);
        assert.deepEqual(await ask(o, { json: Object.fromEntries(required.map((f) => [f, null])) }).then((x) => x.body.code), 'validation_failed', 'null is as if left out');
    });
    test(`${o.name} takes JSON only, up to a megabyte`, async () => {
        const json = { 'content-type': 'application/json' };
        for (const body of ['{', '{"a":1,}', '{"a":01}', "{'a':1}", '{"a":1}}', 'nonsense', '{"a":"b', '{"a":NaN}', '{"a":1}{}']) {
            refused(await ask(o, { body, headers: json }), 400, 'malformed_json', `${o.name} ${body}`);
        }
        for (const body of ['[]', '"text"', '1', 'null']) names(await ask(o, { body, headers: json }), 'body', `${o.name} ${body}`);
        refused(await ask(o, { body: Buffer.from([0x7b, 0x22, 0x61, 0x22, 0x3a, 0x22, 0xff, 0x22, 0x7d]), headers: json }), 400, 'malformed_json', `${o.name}: not UTF-8`);
        for (const type of ['text/plain', 'application/x-www-form-urlencoded', 'application/xml']) {
            refused(await ask(o, { body: '{}', headers: { 'content-type': type } }), 415, 'unsupported_media_type', `${o.name} ${type}`);
        }
        refused(await ask(o, { body: JSON.stringify({ a: 'x'.repeat(1048576) }), headers: json }), 413, 'payload_too_large', o.name);
    });
}

for (const o of operations.filter(formOf)) {
    const files = (s) => plain(s).contentMediaType !== undefined;
    const { properties, required } = formOf(o);
    test(`${o.name} names a field or file of the form that is not right`, async () => {
        const send = (parts) => { const { body, headers } = multipart(parts); return ask(o, { body, headers }); };
        for (const [name, schema] of Object.entries(properties)) {
            if (files(schema)) {
                names(await send([{ name, data: Buffer.from('not a picture') }]), name, `${o.name} ${name}`);
            } else {
                for (const value of wrongTexts(schema)) names(await send([{ name, value }]), name, `${o.name} ${name}=${value.slice(0, 80)}`);
            }
        }
        const r = await send([{ name: 'nothing', value: '1' }]);
        for (const field of required) names(r, field, `${o.name}, empty`);
    });
    test(`${o.name} takes a form only`, async () => {
        refused(await ask(o, { json: {} }), 415, 'unsupported_media_type', o.name);
        refused(await ask(o, { body: 'nonsense', headers: { 'content-type': 'multipart/form-data; boundary=x' } }), 400, 'malformed_multipart', o.name);
        refused(await ask(o, { body: 'nonsense', headers: { 'content-type': 'multipart/form-data' } }), 400, 'malformed_multipart', `${o.name} without boundary`);
    });
}

test('a body over a megabyte is refused, whatever is asked for', async () => {
    const body = Buffer.alloc(1048577, 0x20);
    for (const o of operations.filter((x) => !formOf(x) && x.method !== 'GET' && x.template !== '/webhooks/whatsapp')) {
        refused(await ask(o, { body, headers: { 'content-type': 'application/json' } }), 413, 'payload_too_large', o.name);
    }
    const webhook = operations.find((x) => x.template === '/webhooks/whatsapp' && x.method === 'POST');
    refused(await ask(webhook, { body: Buffer.alloc(3 * 1048576 + 1, 0x20), headers: { 'content-type': 'application/json' } }), 413, 'payload_too_large', webhook.name);
});

test('an expired token is told so, by every operation that looks at one', async () => {
    const secret = w.setting('JWT_SECRET');
    for (const o of operations.filter(readsToken)) {
        const now = Math.floor(Date.now() / 1000);
        const token = forge({ ...claims(people[roleOf(o)].token), iat: now - 100, exp: now - 1 }, { secret });
        refused(await ask(o, { token, ...(jsonOf(o) && { json: {} }) }), 401, 'token_expired', o.name);
    }
});

test('an id that is no UUID is unknown to every operation that takes one', async () => {
    for (const o of operations.filter((x) => x.template.includes('{id}'))) {
        for (const id of ['1', 'nonsense', '00000000-0000-0000-0000-00000000000g', `${crypto.randomUUID()}x`]) {
            refused(await ask(o, jsonOf(o) && { json: {} }, o.template.replace('{id}', id)), 404, 'not_found', `${o.name} ${id}`);
        }
    }
});

test('every path tells the methods that it has, and no other', async () => {
    for (const [template, item] of Object.entries(document.paths)) {
        if (template.startsWith('/files/') && template.includes('{')) continue; // nginx's
        const has = ['get', 'put', 'post', 'delete'].filter((m) => item[m]).map((m) => m.toUpperCase());
        for (const method of ['GET', 'PUT', 'POST', 'DELETE', 'PATCH'].filter((m) => !has.includes(m))) {
            const r = await w.request(method, template.replace('{id}', crypto.randomUUID()), { token: people.ADMIN.token });
            refused(r, 405, 'method_not_allowed', `${method} ${template}`);
            const allowed = r.headers.allow.split(', ').filter((m) => m !== 'HEAD' && m !== 'OPTIONS').sort();
            assert.deepEqual(allowed, [...has].sort(), `${method} ${template}`);
            assert.equal(r.headers.allow.includes('HEAD'), has.includes('GET'), `${method} ${template}: ${r.headers.allow}`);
        }
    }
});

test('metrics are for the addresses that the operator allows', async () => {
    const { hostname, port } = new URL(w.base);
    const r = await new Promise((resolve, reject) => {
        http.get({ hostname, port, path: '/metrics', localAddress: '127.0.0.9' }, (res) => {
            const chunks = [];
            res.on('data', (c) => chunks.push(c));
            res.on('end', () => resolve({ method: 'GET', url: '/metrics', status: res.statusCode, headers: res.headers, body: Buffer.concat(chunks) }));
        }).on('error', reject);
    });
    check(r);
    assert.equal(r.status, 403);
    assert.equal((await w.get('/metrics')).status, 200);
});

test('the document and its page are served as they are here, and a copy that is still good is not sent again', async () => {
    const fs = require('node:fs');
    const path = require('node:path');
    const folder = path.join(__dirname, '../../doc');
    const csp = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
    for (const [url, file, type] of [['/openapi.yaml', 'openapi.yaml', 'application/yaml'], ['/docs', 'viewer/index.html', 'text/html'],
        ['/docs/start.js', 'viewer/start.js', 'application/javascript'], ['/docs/swagger-ui.css', 'viewer/swagger-ui.css', 'text/css'],
        ['/docs/swagger-ui-bundle.js', 'viewer/swagger-ui-bundle.js', 'application/javascript']]) {
        const described = !url.startsWith('/docs/');
        const r = await w.request('GET', url, { unchecked: !described });
        assert.equal(r.status, 200, url);
        assert.equal(r.headers['content-type'].split(';')[0], type);
        assert.ok(r.buffer.equals(fs.readFileSync(path.join(folder, file))), url);
        if (url.startsWith('/docs')) assert.equal(r.headers['content-security-policy'], csp);
        const again = await w.request('GET', url, { unchecked: !described, headers: { 'if-none-match': r.headers.etag } });
        assert.equal(again.status, 304, url);
    }
    const photo = new URL(listing.thumbnail);
    const first = await w.get(photo.pathname + photo.search);
    assert.equal(first.status, 200);
    assert.equal((await w.request('GET', photo.pathname + photo.search, { headers: { 'if-none-match': first.headers.etag } })).status, 304);
});
