'use strict';
// Photos made with ImageMagick, once a run: plasma with noise compresses like a real photo.
const { execFileSync } = require('node:child_process');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');

const dir = path.join(os.tmpdir(), `selliko-test-photos-${process.getuid()}`);

function made(name, ...args) {
  fs.mkdirSync(dir, { recursive: true, mode: 0o700 });
  const file = path.join(dir, name);
  if (!fs.existsSync(file)) {
    const tmp = path.join(dir, `tmp-${process.pid}-${name}`);
    execFileSync('convert', [...args, tmp]);
    fs.renameSync(tmp, file);
  }
  return fs.readFileSync(file);
}
const jpeg = (w, h, seed = 1) => made(`${w}x${h}-${seed}.jpg`, '-size', `${Math.ceil(w / 2)}x${Math.ceil(h / 2)}`, '-seed', String(seed), 'plasma:fractal', '-resize', `${w}x${h}!`, '-quality', '85');
const small = (seed = 1) => jpeg(640, 480, seed);
const large = (seed = 1) => jpeg(4000, 3000, seed);   // 12 megapixels
const png = () => made('small.png', '-size', '600x450', '-seed', '9', 'plasma:fractal');
const webp = () => made('small.webp', '-size', '600x450', '-seed', '8', 'plasma:fractal');
const gif = () => made('small.gif', '-size', '60x45', 'plasma:fractal');
const cmyk = () => made('cmyk.jpg', '-size', '640x480', '-seed', '7', 'plasma:fractal', '-colorspace', 'CMYK');
const grey = () => made('grey.jpg', '-size', '640x480', '-seed', '7', 'plasma:fractal', '-colorspace', 'Gray');
// left half red, right half blue: shows which way is up
const halves = () => made('halves.jpg', '-size', '300x400', 'xc:#ff0000', '-size', '300x400', 'xc:#0000ff', '+append', '-quality', '95');
const pdf = () => Buffer.from('%PDF-1.4\n1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj 2 0 obj<</Type/Pages/Kids[]/Count 0>>endobj\ntrailer<</Root 1 0 R>>\n%%EOF\n');

// An APP1 segment with an orientation and a position (Kochi), put in behind SOI.
function exif(data, orientation) {
  const tiff = Buffer.alloc(8 + 2 + 12 * 3 + 4 + 2 + 12 * 4 + 4 + 48 + 16);
  let at = 0;
  const u16 = (n) => { at = tiff.writeUInt16BE(n, at); };
  const u32 = (n) => { at = tiff.writeUInt32BE(n, at); };
  const entry = (tag, type, count, write) => { u16(tag); u16(type); u32(count); const next = at + 4; write(); at = next; };
  const gps = 8 + 2 + 12 * 3 + 4;
  const values = gps + 2 + 12 * 4 + 4;
  tiff.write('MM\0*', 0, 'latin1'); at = 4; u32(8);
  u16(3);
  entry(0x010f, 2, 16, () => u32(values + 48));
  entry(0x0112, 3, 1, () => u16(orientation));
  entry(0x8825, 4, 1, () => u32(gps));
  u32(0);
  u16(4);
  entry(1, 2, 2, () => tiff.write('N\0', at, 'latin1'));
  entry(2, 5, 3, () => u32(values));
  entry(3, 2, 2, () => tiff.write('E\0', at, 'latin1'));
  entry(4, 5, 3, () => u32(values + 24));
  u32(0);
  for (const n of [9, 1, 55, 1, 52, 1, 76, 1, 16, 1, 2, 1]) u32(n);
  tiff.write('SECRETCAMERAMAKE', at, 'latin1');
  const body = Buffer.concat([Buffer.from('Exif\0\0', 'latin1'), tiff]);
  const head = Buffer.from([0xff, 0xe1, 0, 0]);
  head.writeUInt16BE(body.length + 2, 2);
  return Buffer.concat([data.subarray(0, 2), head, body, data.subarray(2)]);
}

// With a profile of its own, a gamma of 2.2 over sRGB's primaries (ICC.1:2001-04), which is converted away.
function profiled(data) {
  const s15 = (...n) => { const b = Buffer.alloc(4 * n.length); n.forEach((x, i) => b.writeInt32BE(Math.round(x * 65536), 4 * i)); return b; };
  const text = (s) => Buffer.concat([Buffer.from(s), Buffer.alloc(4 - s.length % 4)]);
  const xyz = (...n) => Buffer.concat([Buffer.from('XYZ \0\0\0\0'), s15(...n)]);
  const gamma = Buffer.concat([Buffer.from('curv\0\0\0\0\0\0\0\x01'), Buffer.from([2, 0x33, 0, 0])]);
  const desc = Buffer.alloc(12 + 8 + 80);
  desc.write('desc'); desc.writeUInt32BE(6, 8); desc.write('gamma', 12);
  const tags = { desc, cprt: Buffer.concat([Buffer.from('text\0\0\0\0'), text('none')]), wtpt: xyz(0.9642, 1, 0.8249),
    rXYZ: xyz(0.4361, 0.2225, 0.0139), gXYZ: xyz(0.3851, 0.7169, 0.0971), bXYZ: xyz(0.1431, 0.0606, 0.7141), rTRC: gamma, gTRC: gamma, bTRC: gamma };
  const names = Object.keys(tags), head = Buffer.alloc(128 + 4 + 12 * names.length), parts = [head];
  let at = head.length;
  head.writeUInt32BE(names.length, 128);
  names.forEach((name, i) => {
    head.write(name, 132 + 12 * i); head.writeUInt32BE(at, 136 + 12 * i); head.writeUInt32BE(tags[name].length, 140 + 12 * i);
    parts.push(tags[name]); at += tags[name].length;
  });
  head.writeUInt32BE(at, 0);
  head.writeUInt32BE(0x02400000, 8);
  head.write('mntrRGB XYZ ', 12);
  head.write('acsp', 36);
  s15(0.9642, 1, 0.8249).copy(head, 68);
  const body = Buffer.concat([Buffer.from('ICC_PROFILE\0\x01\x01', 'latin1'), ...parts]);
  const marker = Buffer.from([0xff, 0xe2, 0, 0]);
  marker.writeUInt16BE(body.length + 2, 2);
  return Buffer.concat([data.subarray(0, 2), marker, body, data.subarray(2)]);
}

// What ImageMagick says of an image: {format, width, height, colorspace, profiles, orientation}
function identify(data, ...also) {
  const file = path.join(dir, `look-${process.pid}-${Math.random().toString(36).slice(2)}`);
  fs.writeFileSync(file, data);
  try {
    const [format, width, height, colorspace, orientation, channels] = execFileSync('identify', ['-quiet', '-format', '%m %w %h %[colorspace] %[orientation] %[channels]\n', file], { encoding: 'utf8' }).trim().split('\n')[0].split(' ');
    const profiles = execFileSync('identify', ['-quiet', '-format', '%[profiles]%[EXIF:*]', file], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).trim();
    return { format, width: Number(width), height: Number(height), colorspace, orientation, channels, profiles };
  } finally { fs.rmSync(file); }
}
// The colour (r, g, b) of the pixel at (x, y)
function pixel(data, x, y) {
  const out = execFileSync('convert', ['-', '-format', `%[fx:round(255*p{${x},${y}}.r)] %[fx:round(255*p{${x},${y}}.g)] %[fx:round(255*p{${x},${y}}.b)]`, 'info:'], { input: data, encoding: 'utf8' });
  return out.trim().split(' ').map(Number);
}

// A JPEG that says it is W x H, whatever it holds.
function claiming(data, w, h) {
  const copy = Buffer.from(data);
  for (let i = 2; i < copy.length;) {
    const marker = copy[i + 1];
    if (marker >= 0xc0 && marker <= 0xcf && ![0xc4, 0xc8, 0xcc].includes(marker)) { copy.writeUInt16BE(h, i + 5); copy.writeUInt16BE(w, i + 7); return copy; }
    i += 2 + copy.readUInt16BE(i + 2);
  }
  throw new Error('no frame');
}

module.exports = { jpeg, small, large, png, webp, gif, cmyk, grey, halves, pdf, exif, profiled, identify, pixel, claiming };
