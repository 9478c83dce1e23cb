'use strict';
// Holds every answer against doc/openapi.yaml: its path, method, status, headers and body must all be
// described there, key by key.  The harness hands each answer to check(); a test never has to.
//
//     const { check } = require('./openapi');
//     check({ method: 'POST', url: '/bids', requestHeaders, requestBody, status: 201, headers, body });
//
// What was seen is appended to the folder $OPENAPI_SEEN when the process ends, so that
// openapi-coverage.js can say which operations and statuses no test ever met.
const fs = require('node:fs');
const path = require('node:path');
const yaml = require('yaml');
const Ajv = require('ajv/dist/2020').default;
const addFormats = require('ajv-formats').default;

const FILE = path.join(__dirname, '../../../doc/openapi.yaml');
const METHODS = ['get', 'put', 'post', 'delete', 'options', 'head', 'patch', 'trace'];
// HTTP's own, of which the document does not speak.
const TRANSPORT = new Set(['date', 'server', 'connection', 'keep-alive', 'content-type', 'content-length',
    'content-encoding', 'transfer-encoding', 'vary']);

const pointer = (...keys) => keys.map((k) => `/${encodeURIComponent(String(k).replace(/~/g, '~0').replace(/\//g, '~1'))}`).join('');

class OpenApi {
    constructor(document) {
        this.document = document;
        this.ajv = this.validatorOf({});
        this.lenient = this.validatorOf({ coerceTypes: true });
        this.compiled = new Map();
        this.paths = Object.keys(document.paths).map((template) => ({
            template,
            variables: (template.match(/\{/g) ?? []).length,
            pattern: new RegExp(`^${template.replace(/[.]/g, '\\.').replace(/\{[^}]+\}/g, '[^/]+')}$`),
        })).sort((a, b) => a.variables - b.variables); // /notifications/preferences before /notifications/{id}
    }

    validatorOf(options) {
        // multipleOf 0.01 must not fail on a binary fraction
        const ajv = new Ajv({ strict: false, allErrors: true, multipleOfPrecision: 6, validateSchema: false, ...options });
        addFormats(ajv);
        ajv.addSchema(this.document, 'document');
        return ajv;
    }

    // Follows {$ref} to what it names, and tells the JSON pointer of the place.
    resolve(node, at) {
        while (node?.$ref) {
            at = node.$ref;
            node = at.slice(2).split('/').reduce((n, k) => n?.[k.replace(/~1/g, '/').replace(/~0/g, '~')], this.document);
            if (node === undefined) throw new Error(`the document has no ${at}`);
        }
        return { node, at };
    }

    // The validator of the schema at a JSON pointer of the document.
    schemaAt(at, ajv = this.ajv) {
        const key = `${ajv === this.ajv ? '' : 'lenient '}${at}`;
        if (!this.compiled.has(key)) this.compiled.set(key, ajv.compile({ $ref: `document${at}` }));
        return this.compiled.get(key);
    }

    // The operation that serves a request; template without operation: no such method; neither: no such path.
    find(method, pathname) {
        const found = this.paths.find((p) => p.pattern.test(pathname));
        if (!found) return {};
        const item = this.document.paths[found.template];
        const asked = method.toLowerCase();
        const as = asked === 'head' && item.get ? 'get' : asked;
        return { template: found.template, item, method: as, operation: METHODS.includes(as) ? item[as] : undefined };
    }

    // All that is wrong with an answer, as sentences; none when it is as described.
    problems({ method, url, status, headers, body, requestHeaders, requestBody }) {
        const { pathname, searchParams } = new URL(url, 'http://localhost');
        const found = this.find(method, pathname);
        const problems = [];
        const fields = headersOf(headers);
        const described = this.describe(found, pathname, method, status);
        if (!described) {
            return [found.operation ? `status ${status} is not described for ${found.method.toUpperCase()} ${found.template}`
                : found.template ? `${found.template} has no ${method}, and status ${status} is not what that gets`
                    : `path ${pathname} is not described, and status ${status} is not what that gets`];
        }
        const { node: response, at } = described;
        this.checkHeaders(problems, response, fields, found.operation);
        if (response.content) {
            if (method.toUpperCase() !== 'HEAD') this.checkBody(problems, response, at, fields, body, 'idempotency-key' in headersOf(requestHeaders));
        } else if (body !== undefined && body !== null && String(body) !== '') {
            problems.push('a body where none is described');
        }
        if (found.operation && status < 300) this.checkRequest(problems, found, searchParams, fields, requestBody);
        return problems;
    }

    // The response that the document has for this status: the operation's, or what any request can get.
    describe(found, pathname, method, status) {
        if (method.toUpperCase() === 'OPTIONS' && !found.operation && status === 204) return { node: { headers: {} }, at: '' };
        const own = found.operation?.responses[status];
        if (own) return this.resolve(own, `#/paths${pointer(found.template, found.method, 'responses', status)}`);
        const any = this.document['x-any-request'];
        if (!any[status]) return undefined;
        const fits = { 404: !found.template, 405: found.template && !found.operation, 403: !found.template && pathname.startsWith('/files/') };
        if (fits[status] === false || (status in fits && !fits[status])) return undefined;
        return this.resolve(any[status], `#/x-any-request/${status}`);
    }

    checkHeaders(problems, response, fields, operation) {
        const described = new Map();
        const own = this.document.components.headers;
        if (operation?.['x-rate-limit']) {
            for (const name of ['RateLimit-Limit', 'RateLimit-Remaining', 'RateLimit-Reset']) described.set(name.toLowerCase(), { name, ...own[name], required: false });
        }
        for (const [name, header] of Object.entries({ ...this.document['x-common-headers'], ...response.headers })) {
            const { node } = this.resolve(header);
            described.set(name.toLowerCase(), { name, ...node });
        }
        for (const [name, value] of Object.entries(fields)) {
            if (name.startsWith('access-control-')) continue; // whether they are right is nginx's tests' matter
            if (TRANSPORT.has(name)) {
                if (name === 'server' && /[\d/]/.test(value)) problems.push(`Server tells a version: ${value}`);
                continue;
            }
            const header = described.get(name);
            if (!header) { problems.push(`header ${name} is not described`); continue; }
            const { node: schema } = this.resolve(header.schema);
            const validate = this.lenient.compile({ type: 'object', properties: { value: schema } });
            if (!validate({ value })) problems.push(`header ${header.name}: "${value}" ${validate.errors[0].message}`);
        }
        for (const { name, required } of described.values()) {
            if (required && !(name.toLowerCase() in fields)) problems.push(`header ${name} is missing`);
        }
    }

    checkBody(problems, response, at, fields, body, mayBeReplayed) {
        const type = (fields['content-type'] ?? '').split(';')[0].trim().toLowerCase();
        if (!response.content[type]) {
            problems.push(`media type "${type}" is not described (${Object.keys(response.content).join(', ')})`);
            return;
        }
        if (type !== 'application/json') return;
        const value = typeof body === 'string' || body instanceof Uint8Array ? parse(body) : body;
        if (value instanceof Error) { problems.push(`the body is not JSON: ${value.message}`); return; }
        const validate = this.schemaAt(`${at}${pointer('content', type, 'schema')}`);
        if (!validate(value)) problems.push(...sentences(validate.errors, value));
        if (value?.requestId !== undefined && value.requestId !== fields['x-request-id'] && !mayBeReplayed) {
            problems.push('requestId is not that of X-Request-Id');
        }
    }

    // What was accepted must be what the document allows, or the document is wrong about the request.
    checkRequest(problems, found, query, fields, requestBody) {
        for (const parameter of [...(found.item.parameters ?? []), ...(found.operation.parameters ?? [])]) {
            const { node } = this.resolve(parameter);
            const value = node.in === 'query' ? query.get(node.name)?.trim() : undefined;
            if (!value) continue;
            const { node: schema } = this.resolve(node.schema);
            const validate = this.lenient.compile({ type: 'object', properties: { value: schema } });
            if (!validate({ value })) problems.push(`accepted, but the document forbids ${node.name}=${value}: ${validate.errors[0].message}`);
        }
        const wanted = found.operation.requestBody?.content?.['application/json'];
        if (!wanted || requestBody === undefined || requestBody === null || typeof requestBody !== 'object' || requestBody instanceof Uint8Array) return;
        const given = Object.fromEntries(Object.entries(requestBody).filter(([, v]) => v !== null)
            .map(([k, v]) => [k, typeof v === 'string' ? v.trim() : v]).filter(([, v]) => v !== ''));
        const validate = this.schemaAt(`#/paths${pointer(found.template, found.method, 'requestBody', 'content', 'application/json', 'schema')}`);
        if (!validate(given)) problems.push(...sentences(validate.errors, given).map((s) => `accepted, but the document forbids it: ${s}`));
    }
}

function headersOf(headers) {
    const entries = typeof headers?.entries === 'function' ? [...headers.entries()] : Object.entries(headers ?? {});
    return Object.fromEntries(entries.map(([k, v]) => [k.toLowerCase(), Array.isArray(v) ? v.join(', ') : String(v)]));
}

function parse(body) {
    try { return JSON.parse(typeof body === 'string' ? body : Buffer.from(body).toString('utf8')); } catch (e) { return e; }
}

function sentences(errors, value) {
    const at = (where) => where.split('/').slice(1).reduce((v, k) => v?.[k.replace(/~1/g, '/').replace(/~0/g, '~')], value);
    const all = errors.map((e) => {
        const extra = e.params.additionalProperty ?? e.params.unevaluatedProperty ?? e.params.propertyName;
        const allowed = e.params.allowedValues ? ` (${e.params.allowedValues.join(', ')})` : '';
        const seen = extra === undefined && ['enum', 'const', 'pattern', 'format', 'type', 'minimum', 'maximum', 'multipleOf'].includes(e.keyword)
            ? `: ${JSON.stringify(at(e.instancePath))}` : '';
        return `${e.instancePath || 'body'} ${e.message}${extra === undefined ? '' : ` "${extra}"`}${allowed}${seen}`;
    });
    return [...new Set(all)];
}

const api = new OpenApi(yaml.parse(fs.readFileSync(FILE, 'utf8')));
const seen = new Map();

// Throws when the answer is not as the document describes it; returns nothing.
function check(answer) {
    const { pathname } = new URL(answer.url, 'http://localhost');
    const found = api.find(answer.method, pathname);
    if (found.operation) {
        const code = answer.status >= 400 ? codeOf(answer.body) : '';
        const key = `${found.method.toUpperCase()} ${found.template} ${answer.status}${code && ` ${code}`}`;
        seen.set(key, (seen.get(key) ?? 0) + 1);
    }
    const problems = api.problems(answer);
    if (problems.length === 0) return;
    const body = typeof answer.body === 'string' || answer.body instanceof Uint8Array ? answer.body : JSON.stringify(answer.body);
    const error = new Error(`${answer.method} ${answer.url} answered ${answer.status}, and the document says otherwise:\n  ${problems.join('\n  ')}\n  body: ${String(body).slice(0, 1500)}`);
    error.name = 'NotAsDocumented';
    Error.captureStackTrace(error, check);
    throw error;
}

function codeOf(body) {
    const value = typeof body === 'string' || body instanceof Uint8Array ? parse(body) : body;
    return typeof value?.code === 'string' ? value.code : '';
}

if (process.env.OPENAPI_SEEN) {
    process.on('exit', () => {
        if (seen.size === 0) return;
        fs.mkdirSync(process.env.OPENAPI_SEEN, { recursive: true });
        fs.writeFileSync(path.join(process.env.OPENAPI_SEEN, `${process.pid}-${Date.now()}.json`), JSON.stringify(Object.fromEntries(seen)));
    });
}

module.exports = { check, OpenApi, api, document: api.document, FILE };
