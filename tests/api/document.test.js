'use strict';
// The API's document, its page and its types, without a running service: the document is sound, and the
// checker that holds every answer against it catches what it should.
const test = require('node:test');
const assert = require('node:assert/strict');
const fs = require('node:fs');
const path = require('node:path');
const { execFileSync } = require('node:child_process');
const { api, document, FILE } = require('./lib/openapi');
const { report, described } = require('./lib/openapi-coverage');

const ROOT = path.join(__dirname, '../..');
const TESTS = path.join(ROOT, 'tests');
const METHODS = ['get', 'put', 'post', 'delete'];
const ROLES = ['ANONYMOUS', 'CLIENT', 'VENDOR', 'AGENT', 'ADMIN'];

const operations = Object.entries(document.paths).flatMap(([template, item]) =>
    METHODS.filter((m) => item[m]).map((method) => ({ template, method, item, operation: item[method], name: `${method.toUpperCase()} ${template}` })));

test('a linter has nothing to say about the document', async () => {
    process.env.REDOCLY_TELEMETRY = 'off';
    const { lint, createConfig } = await import('@redocly/openapi-core');
    const config = await createConfig({
        extends: ['recommended-strict'],
        rules: {
            'info-license': 'off',
            'no-unused-components': 'off',                      // x-any-request uses some; the test below knows
            'no-required-schema-properties-undefined': 'off',   // then: {required: …} beside the properties
        },
    });
    const problems = await lint({ ref: FILE, config });
    assert.deepEqual(problems.map((p) => `${p.location[0]?.pointer ?? ''}: ${p.message} (${p.ruleId})`), []);
});

test('every component is used', () => {
    const text = JSON.stringify(document);
    for (const kind of ['schemas', 'responses', 'parameters', 'headers']) {
        for (const name of Object.keys(document.components[kind])) {
            assert.ok(text.includes(`"#/components/${kind}/${name}"`), `${kind}/${name} is not used`);
        }
    }
});

test('every operation says whom it serves, with a name and a group of its own', () => {
    const names = new Set();
    const groups = new Set(document.tags.map((t) => t.name));
    for (const { name, operation, template } of operations) {
        assert.ok(Array.isArray(operation['x-roles']) && operation['x-roles'].length > 0, `${name}: x-roles`);
        for (const role of operation['x-roles']) assert.ok(ROLES.includes(role), `${name}: ${role}`);
        for (const [role, status] of Object.entries(operation['x-foreign'] ?? {})) {
            assert.ok(operation['x-roles'].includes(role), `${name}: x-foreign speaks of ${role}, whom it does not serve`);
            assert.ok(operation.responses[status], `${name}: x-foreign says ${status}, which it does not describe`);
        }
        const open = operation['x-roles'].includes('ANONYMOUS');
        const needsToken = (operation.security ?? document.security).every((s) => 'bearer' in s) && (operation.security ?? document.security).length > 0;
        assert.equal(needsToken, !open, `${name}: security and x-roles disagree`);
        if (!open) {
            assert.ok(operation.responses[401], `${name}: 401`);
            const codes = described().filter((d) => d.operation === name && d.status === '403').map((d) => d.code);
            assert.deepEqual([...codes].sort(), operation['x-roles'].length < 4 || codes.includes('forbidden') ? ['account_disabled', 'forbidden'] : ['account_disabled'], `${name}: 403`);
        }
        assert.ok(!names.has(operation.operationId), `${operation.operationId} twice`);
        names.add(operation.operationId);
        assert.equal(operation.tags.length, 1);
        assert.ok(groups.has(operation.tags[0]), `${name}: ${operation.tags[0]}`);
        if (template.includes('{id}')) assert.ok(operation.responses[404], `${name}: 404`);
    }
});

test('every code of an error is one that some operation can answer, and none is undescribed', () => {
    const codes = new Set();
    for (const response of Object.values(document.components.responses)) {
        for (const part of response.content?.['application/json']?.schema.allOf ?? []) {
            for (const code of part.properties?.code?.enum ?? []) codes.add(code);
        }
    }
    assert.deepEqual([...codes].sort(), [...document.components.schemas.Error.properties.code.enum].sort());
});

test('no answer is left open: an undocumented key is caught wherever it stands', () => {
    const open = new Set();
    const visited = new Set();
    // A schema with keys must close itself, unless one that is composed of it does.
    const walk = (schema, at, closedAbove) => {
        ({ node: schema, at } = api.resolve(schema, at));
        if (typeof schema !== 'object' || visited.has(`${at} ${closedAbove}`)) return;
        visited.add(`${at} ${closedAbove}`);
        const closed = schema.additionalProperties !== undefined || schema.unevaluatedProperties !== undefined
            || (schema.allOf ?? []).some((part) => api.resolve(part).node.additionalProperties === false);
        if ((schema.properties || schema.type === 'object') && !closed && !closedAbove) open.add(at);
        for (const key of ['allOf', 'anyOf', 'oneOf']) {
            (schema[key] ?? []).forEach((part, i) => walk(part, `${at}/${key}/${i}`, closed || (closedAbove && key === 'allOf')));
        }
        for (const [key, part] of Object.entries(schema.properties ?? {})) walk(part, `${at}/properties/${key}`, false);
        if (schema.items) walk(schema.items, `${at}/items`, false);
    };
    for (const { name, operation } of operations) {
        for (const [status, response] of Object.entries(operation.responses)) {
            const schema = api.resolve(response).node.content?.['application/json']?.schema;
            if (schema) walk(schema, `${name} ${status}`, false);
        }
    }
    assert.deepEqual([...open], []);
});

test('the programs\' route tables and the document agree: path, method and whom it serves', () => {
    const folder = path.join(ROOT, 'cgi-bin');
    const signedIn = ROLES.slice(1);
    const rolesOf = (text) => text.split('|').map((r) => r.trim()).flatMap((r) => ({ UNASKED: ROLES, ANYONE: ROLES, SIGNED_IN: signedIn }[r] ?? r));
    const served = {};
    for (const file of fs.readdirSync(folder).filter((f) => /[.][ch]$/.test(f))) {
        const text = fs.readFileSync(path.join(folder, file), 'utf8');
        for (const [, method, route, roles] of text.matchAll(/\bX\((GET|PUT|POST|DELETE), *"([^"]+)", *\w+, *([^,]+),/g)) {
            if (!route.startsWith('/_')) served[`${method} ${route.replace('{uuid}', '{id}')}`] = rolesOf(roles).sort();
        }
    }
    // files of a folder and the document itself are nginx's to serve
    const promised = Object.fromEntries(operations.filter((o) => !/^\/(files\/.*\{|docs|openapi)/.test(o.template)).map((o) => [o.name, [...o.operation['x-roles']].sort()]));
    assert.deepEqual(served, promised);
});

test('every parameter of a query that a program reads is described, and no other', () => {
    const folder = path.join(ROOT, 'cgi-bin');
    const read = new Set(['page', 'limit', 'exp', 'kid', 'sig', 'hub.verify_token']); // read in lib/, or by more than their name
    for (const file of fs.readdirSync(folder).filter((f) => f.endsWith('.c'))) {
        for (const [, name] of fs.readFileSync(path.join(folder, file), 'utf8').matchAll(/\bquery_\w+\(r, *"([^"]+)"/g)) read.add(name);
    }
    const described = new Set(operations.flatMap(({ item, operation }) => [...(item.parameters ?? []), ...(operation.parameters ?? [])])
        .map((p) => api.resolve(p).node).filter((p) => p.in === 'query').map((p) => p.name));
    assert.deepEqual([...read].sort(), [...described].sort());
});

// ---- the checker

const requestId = '0f3c2b7a9d6e4f10a1b2c3d4e5f60718';
const headers = {
    'Content-Type': 'application/json', 'X-Request-Id': requestId, Date: 'today', Server: 'nginx',
    ...Object.fromEntries(Object.entries(document['x-common-headers']).filter(([, h]) => h.required)
        .map(([name, h]) => [name, h.schema.const ?? h.schema.enum?.[0] ?? 'default-src \'none\''])),
};
const bidOf = (more = {}) => ({
    id: '0190d3a4-5b6c-7d8e-9f01-23456789abcd', listingId: '0190d3a4-5b6c-7d8e-9f01-23456789abce', vendorId: 'Selliko Bid #12345',
    amount: 25000.55, isInstantWin: false, isWinning: true, timestamp: '2026-11-22T10:15:00.000Z', metadata: {}, ...more,
});
const placed = (more = {}) => ({
    method: 'POST', url: '/bids', status: 201, headers,
    body: { success: true, bid: bidOf(), isInstantWin: false, orderId: null, message: 'Bid placed' }, ...more,
});
const failed = (status, code, more = {}) => ({ success: false, error: 'No.', code, requestId, ...more });

test('an answer as described passes', () => {
    assert.deepEqual(api.problems(placed()), []);
    assert.deepEqual(api.problems(placed({ body: JSON.stringify(placed().body) })), []);
    assert.deepEqual(api.problems(placed({ status: 409, body: failed(409, 'bid_too_low', { minimumBid: 25100 }) })), []);
    assert.deepEqual(api.problems({ method: 'GET', url: '/nowhere', status: 404, headers, body: failed(404, 'not_found') }), []);
    assert.deepEqual(api.problems({ method: 'DELETE', url: '/bids', status: 405, headers: { ...headers, Allow: 'GET, HEAD, POST' }, body: failed(405, 'method_not_allowed') }), []);
    assert.deepEqual(api.problems({ method: 'HEAD', url: '/marketplace?page=2', status: 200, headers, body: '' }), []);
    assert.deepEqual(api.problems({ method: 'PUT', url: '/notifications/mark-all-read', status: 200, headers, body: { success: true, markedCount: 0 } }), []);
});

for (const [what, answer] of Object.entries({
    'an undocumented key': placed({ body: { ...placed().body, vendor: 'x' } }),
    'an undocumented key inside': placed({ body: { ...placed().body, bid: bidOf({ phone: '+919876543210' }) } }),
    'a missing key': placed({ body: { ...placed().body, orderId: undefined } }),
    'a missing success': placed({ body: { ...placed().body, success: undefined } }),
    'a time without milliseconds': placed({ body: { ...placed().body, bid: bidOf({ timestamp: '2026-11-22T10:15:00Z' }) } }),
    'a third decimal of a rupee': placed({ body: { ...placed().body, bid: bidOf({ amount: 25000.555 }) } }),
    'an undocumented status': placed({ status: 202 }),
    'an undocumented path that answers': { method: 'GET', url: '/secret', status: 200, headers, body: { success: true } },
    'an undocumented method that answers': { method: 'DELETE', url: '/bids', status: 200, headers, body: { success: true } },
    'a 404 for a method that is missing': { method: 'DELETE', url: '/bids', status: 404, headers, body: failed(404, 'not_found') },
    'an undocumented header': placed({ headers: { ...headers, 'X-Powered-By': 'C' } }),
    'a missing X-Request-Id': placed({ headers: Object.fromEntries(Object.entries(headers).filter(([k]) => k !== 'X-Request-Id')) }),
    'a server that tells its version': placed({ headers: { ...headers, Server: 'nginx/1.22.1' } }),
    'a code of another status': placed({ status: 409, body: failed(409, 'forbidden') }),
    'a bid too low without the least': placed({ status: 409, body: failed(409, 'bid_too_low') }),
    'a least bid where there is none': placed({ status: 409, body: failed(409, 'auction_ended', { minimumBid: 1000 }) }),
    'a 401 without WWW-Authenticate': placed({ status: 401, body: failed(401, 'unauthenticated') }),
    'a 429 without Retry-After': placed({ status: 429, body: failed(429, 'rate_limited') }),
    'another request\'s id': placed({ status: 404, body: failed(404, 'not_found', { requestId: 'f'.repeat(32) }) }),
    'HTML where JSON is due': placed({ headers: { ...headers, 'Content-Type': 'text/html' }, body: '<html>' }),
    'a filter that the document forbids': { method: 'GET', url: '/bids?status=maybe', status: 200, headers, body: { success: true, bids: [], pagination: { page: 1, limit: 20, total: 0, totalPages: 0, hasNext: false, hasPrev: false } } },
    'a body that the document forbids': placed({ requestBody: { listingId: 'x', amount: 25000 } }),
})) {
    test(`${what} is caught`, () => {
        assert.notDeepEqual(api.problems(JSON.parse(JSON.stringify(answer))), []);
    });
}

test('the report of what was never seen names operations and codes', () => {
    const folder = fs.mkdtempSync(path.join(require('node:os').tmpdir(), 'selliko-seen-'));
    try {
        fs.writeFileSync(path.join(folder, '1.json'), JSON.stringify({ 'POST /bids 201': 3, 'POST /bids 409 bid_too_low': 1 }));
        const text = report(folder);
        assert.match(text, /never asked: GET \/marketplace/);
        assert.match(text, /never seen: POST \/bids: .*409 auction_ended/);
        assert.doesNotMatch(text, /POST \/bids.*bid_too_low/);
    } finally {
        fs.rmSync(folder, { recursive: true });
    }
});

// ---- the page and the types

test('the page asks nothing of other hosts and its viewer is the pinned one, unchanged', () => {
    const folder = path.join(ROOT, 'doc/viewer');
    const installed = path.dirname(require.resolve('swagger-ui-dist/package.json'));
    for (const file of ['swagger-ui-bundle.js', 'swagger-ui-bundle.js.LICENSE.txt', 'swagger-ui.css', 'LICENSE', 'NOTICE']) {
        assert.ok(fs.readFileSync(path.join(folder, file)).equals(fs.readFileSync(path.join(installed, file))), `${file} is not the package's`);
    }
    const page = fs.readFileSync(path.join(folder, 'index.html'), 'utf8');
    assert.doesNotMatch(page, /https?:|src="\/\/|<style|<script>|style=|\son[a-z]+="/);
    for (const [, href] of page.matchAll(/(?:src|href)="\/docs\/([^"]+)"/g)) assert.ok(fs.existsSync(path.join(folder, href)), href);
    assert.doesNotMatch(fs.readFileSync(path.join(folder, 'swagger-ui.css'), 'utf8'), /@import|url\(["']?https?:/);
});

test('doc/selliko.d.ts is what the document generates (npm run types, in tests/)', async () => {
    const { default: generate, astToString } = await import('openapi-typescript');
    const { pathToFileURL } = require('node:url');
    const fresh = astToString(await generate(pathToFileURL(FILE), { silent: true }));
    const kept = fs.readFileSync(path.join(ROOT, 'doc/selliko.d.ts'), 'utf8');
    assert.equal(kept.slice(kept.indexOf('export interface')).trim(), fresh.slice(fresh.indexOf('export interface')).trim());
});

test('the types fit the guide\'s interfaces', () => {
    const tsc = path.join(path.dirname(require.resolve('typescript/package.json')), 'bin/tsc');
    try {
        execFileSync(process.execPath, [tsc, '-p', path.join(TESTS, 'types')], { stdio: 'pipe' });
    } catch (e) {
        assert.fail(String(e.stdout));
    }
});

// ---- doc/security.md ----

// A sentence of a test, as its file writes it: JavaScript with escaped apostrophes, C with underscores, SQL doubled.
test('every test that doc/security.md names is there', () => {
    const text = fs.readFileSync(path.join(ROOT, 'doc/security.md'), 'utf8');
    let n = 0;
    for (const [, names] of text.matchAll(/^\|[^|]*\|[^|]*\|([^|]*)\|$/gm)) {
        let file = null;
        for (const [, name, sentence] of names.matchAll(/`([^`]+)`|“([^”]+)”/g)) {
            if (name) {
                const [kind, of] = name.split('/');
                file = { api: `tests/${name}.test.js`, realtime: `tests/${name}.test.js`, faults: `tests/${name}.test.js`, unit: `tests/unit/test_${of}.c`, sql: `tests/${name}.sql` }[kind];
                if (kind === 'sql' && !fs.existsSync(path.join(ROOT, file))) file = null;
                if (!file) assert.ok(fs.existsSync(path.join(ROOT, name)) || name.includes(' ') || !name.includes('/'), `${name} is not there`);
                continue;
            }
            assert.ok(file, `in which file is “${sentence}”?`);
            const written = { js: sentence.replaceAll("'", "\\'"), c: sentence.replaceAll(' ', '_'), sql: sentence.replaceAll("'", "''") }[file.split('.').pop()];
            assert.ok(fs.readFileSync(path.join(ROOT, file), 'utf8').includes(written), `${file} has no test “${sentence}”`);
            n++;
        }
    }
    assert.ok(n > 100, `${n} tests are named`);
});
