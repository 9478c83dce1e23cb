'use strict';
// openapi-coverage.js FOLDER: which operations, statuses and error codes of doc/openapi.yaml the API tests
// never met.  FOLDER is what $OPENAPI_SEEN named while they ran.  It tells; it does not fail.
const fs = require('node:fs');
const path = require('node:path');
const { api } = require('./openapi');

// No test can bring these about at will for each operation; one for the whole service is enough.
const EVERYWHERE = new Set(['429', '500', '502', '503', '504']);

// 'POST /bids 409 bid_too_low' for all that the document describes.
function described() {
    const keys = [];
    for (const [template, item] of Object.entries(api.document.paths)) {
        for (const method of ['get', 'put', 'post', 'delete']) {
            for (const [status, response] of Object.entries(item[method]?.responses ?? {})) {
                const operation = `${method.toUpperCase()} ${template}`;
                const codes = status >= 400 && !EVERYWHERE.has(status) ? codesOf(api.resolve(response).node) : [''];
                for (const code of codes) keys.push({ operation, status, code, key: `${operation} ${status}${code && ` ${code}`}` });
            }
        }
    }
    return keys;
}

function codesOf(response) {
    const schema = response.content?.['application/json']?.schema;
    const codes = schema?.allOf?.map((s) => s.properties?.code?.enum).find(Boolean);
    return codes ?? [''];
}

function report(folder) {
    const seen = new Map();
    for (const file of fs.existsSync(folder) ? fs.readdirSync(folder) : []) {
        for (const [key, n] of Object.entries(JSON.parse(fs.readFileSync(path.join(folder, file), 'utf8')))) {
            seen.set(key, (seen.get(key) ?? 0) + n);
            const plain = key.split(' ').slice(0, 3).join(' ');
            if (plain !== key) seen.set(plain, (seen.get(plain) ?? 0) + n);
        }
    }
    const all = described();
    const met = (d) => seen.has(d.key);
    const operations = [...new Set(all.map((d) => d.operation))];
    const never = operations.filter((o) => ![...seen.keys()].some((k) => k.startsWith(`${o} `)));
    const counted = all.filter((d) => !EVERYWHERE.has(d.status));
    const lines = [`openapi: ${operations.length - never.length} of ${operations.length} operations, ${counted.filter(met).length} of ${counted.length} answers described for them were seen`];
    for (const o of never) lines.push(`  never asked: ${o}`);
    const by = new Map();
    for (const d of counted) {
        if (!met(d) && !never.includes(d.operation)) by.set(d.operation, [...(by.get(d.operation) ?? []), `${d.status}${d.code && ` ${d.code}`}`]);
    }
    for (const [o, missing] of by) lines.push(`  never seen: ${o}: ${missing.join(', ')}`);
    for (const status of EVERYWHERE) {
        if (!all.some((d) => d.status === status && met(d))) lines.push(`  never seen anywhere: ${status}`);
    }
    return lines.join('\n');
}

if (require.main === module) console.log(report(process.argv[2] ?? process.env.OPENAPI_SEEN ?? 'seen'));
module.exports = { report, described };
