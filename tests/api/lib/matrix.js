'use strict';
// The authorisation matrix: what doc/openapi.yaml promises to each of the five roles, for an object in
// which the caller has a part (own) and for one in which it has none (foreign).  Made from x-roles,
// x-foreign, x-own and x-own-filters alone, so that a new operation is in it at once.
const { document } = require('./openapi');

const ROLES = ['ANONYMOUS', 'CLIENT', 'VENDOR', 'AGENT', 'ADMIN'];

// Operations that name one object, in the path or in the body, to which the caller may be a stranger.
const namesAnObject = (template, operation) => template.includes('{id}') || operation['x-foreign'] !== undefined;

// [{operationId, method, template, role, object: 'own'|'foreign'|null, expect: {status, code?}|null}]
// expect null: the caller is let in, whatever then becomes of the request.
function cases() {
    const all = [];
    for (const [template, item] of Object.entries(document.paths)) {
        for (const method of ['get', 'put', 'post', 'delete'].filter((m) => item[m])) {
            const operation = item[method];
            const objects = namesAnObject(template, operation) ? ['own', 'foreign'] : [null];
            for (const role of ROLES) {
                for (const object of objects) {
                    all.push({ operationId: operation.operationId, method: method.toUpperCase(), template, role, object, expect: expected(operation, role, object) });
                }
                for (const filter of role === 'ANONYMOUS' || role === 'ADMIN' ? [] : operation['x-own-filters'] ?? []) {
                    if (!operation['x-roles'].includes(role)) continue;
                    all.push({ operationId: operation.operationId, method: method.toUpperCase(), template, role, object: 'foreign', filter, expect: { status: 403, code: 'forbidden' } });
                }
            }
        }
    }
    return all;
}

const CODES = { 401: 'unauthenticated', 403: 'forbidden', 404: 'not_found' };

function expected(operation, role, object) {
    if (!operation['x-roles'].includes(role)) return role === 'ANONYMOUS' ? { status: 401, code: CODES[401] } : { status: 403, code: CODES[403] };
    const status = (object === 'own' ? operation['x-own'] : operation['x-foreign'])?.[role];
    return object && status ? { status, code: CODES[status] } : null;
}

// The operations that look at a token: a wrong one must be a 401, a disabled account's a 403.
function withToken() {
    return cases().filter((c) => c.role === 'ADMIN' && c.object !== 'foreign'
        && (document.paths[c.template][c.method.toLowerCase()].security ?? document.security).some((s) => 'bearer' in s));
}

module.exports = { cases, withToken, ROLES };
