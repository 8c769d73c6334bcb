// The yardstick's part in JavaScript: calls to processes that child_process.fork has started, over its IPC channel.
//
// Its argument is a JSON object. It prints {"pids": [...]} when the workers are there, waits for a line on its standard
// input, works, prints what it has found, and ends when its input does.
'use strict'

const { fork } = require('node:child_process')
const readline = require('node:readline')

const TEXT = 'hello'

class Worker {
  constructor (advanced) {
    this.process = fork(__filename, ['worker'], { serialization: advanced ? 'advanced' : 'json' })
    this.waiting = new Map()
    this.last = 0
    this.process.on('message', ({ id, value }) => {
      this.waiting.get(id)(value)
      this.waiting.delete(id)
    })
  }

  echo (value) {
    return new Promise(resolve => {
      this.waiting.set(++this.last, resolve)
      this.process.send({ id: this.last, value })
    })
  }

  end () { this.process.disconnect() }
}

const now = () => Number(process.hrtime.bigint()) / 1e9
const say = value => process.stdout.write(JSON.stringify(value) + '\n')

async function check (worker, value) {
  const reply = await worker.echo(value)
  if (reply.length !== value.length || reply[0] !== value[0]) throw new Error('a wrong echo')
}

async function call (worker, value, job, until, latencies) {
  let begin = now()
  let next = begin
  for (let n = 0; n < 3 || begin < until; n++) {
    await check(worker, value)
    const end = now()
    latencies.push(end - begin)
    begin = end
    if (job.every) {
      next += job.every
      await new Promise(resolve => setTimeout(resolve, Math.max(0, (next - end) * 1e3)))
      begin = now()
    }
  }
}

async function load (job) {
  const input = readline.createInterface({ input: process.stdin })[Symbol.asyncIterator]()
  const value = job.size ? new Uint8Array(job.size) : TEXT
  const workers = Array.from({ length: job.workers }, () => new Worker(job.size > 0))
  for (const worker of workers) {
    for (let i = 0; i < (job.size ? 2 : 50); i++) await check(worker, value)
  }
  say({ pids: [process.pid, ...workers.map(w => w.process.pid)] })
  await input.next()
  const latencies = []
  const start = now()
  const callers = Array.from({ length: job.callers }, (_, i) =>
    call(workers[i % workers.length], value, job, start + job.seconds, latencies))
  await Promise.all(callers)
  say({ seconds: now() - start, latencies })
  await input.next()
  for (const worker of workers) worker.end()
}

async function start (job) {
  const latencies = []
  for (let i = 0; i < job.samples; i++) {
    const begin = now()
    const worker = new Worker(false)
    await check(worker, TEXT)
    latencies.push(now() - begin)
    worker.end()
  }
  say({ latencies })
}

if (process.argv[2] === 'worker') {
  process.on('message', message => process.send(message))
} else {
  const job = JSON.parse(process.argv[2])
  const work = job.samples ? start : load
  work(job).then(() => process.exit(0), err => {
    console.error(err)
    process.exit(1)
  })
}
