// A worker in Node. It reads calls from stdin and writes replies to stdout, one JSON message a line.
const methods = {
  echo: (value) => value,
  fail: (message) => { throw new Error(message); },
  pid: () => process.pid,
};
const say = (message) => process.stdout.write(JSON.stringify(message) + '\n');

say(['up', {}]);
require('readline').createInterface({ input: process.stdin, crlfDelay: Infinity }).on('line', async (line) => {
  const [kind, , method, ...args] = JSON.parse(line);
  if (kind !== 'do') return;
  try {
    say(['ok', {}, (await methods[method](...args)) ?? null]);
  } catch (e) {
    say(['er', {}, String(e.message)]);
  }
});
