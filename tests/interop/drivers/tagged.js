// Values on their way between a test and a driver: JSON, with bytes as {"$bytes": base64}.
'use strict';

function wrap(value) {
  if (ArrayBuffer.isView(value)) {
    const bytes = Buffer.from(value.buffer, value.byteOffset, value.byteLength);
    return { $bytes: bytes.toString('base64') };
  }
  if (value instanceof ArrayBuffer) return { $bytes: Buffer.from(value).toString('base64') };
  return walk(value, wrap);
}

function unwrap(value) {
  if (value !== null && typeof value === 'object' && typeof value.$bytes === 'string') {
    return Buffer.from(value.$bytes, 'base64');
  }
  return walk(value, unwrap);
}

function walk(value, visit) {
  if (Array.isArray(value)) return value.map(visit);
  if (value === null || typeof value !== 'object') return value;
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, visit(inner)]));
}

module.exports = { unwrap, wrap };
