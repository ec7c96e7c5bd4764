import { createHash } from 'node:crypto';

/*
 * The process of a CpuPeer: for each number that it receives, it parses that many audit records and stores them. Its
 * memory is full from the start, so that its own state does not change the cost of the same work.
 */
const RECORDS = Array.from(
  { length: 512 },
  (_, index) =>
    `type=SYSCALL msg=audit(1700000000.${index}:${index}): arch=c000003e syscall=59 success=yes exit=0 a0=55d0 a1=55d1 a2=55d2 ` +
    `items=2 ppid=${index} pid=${index + 1} auid=1000 uid=0 gid=0 euid=0 tty=pts0 ses=${index} comm="cat" exe="/usr/bin/cat" key=(null)`,
);
const remembered = new Map<number, object>();
const REMEMBERED_AT_MOST = 8_192;
let next = 0;

function read(count: number): void {
  for (let done = 0; done < count; done += 1) {
    const record = RECORDS[next % RECORDS.length] ?? '';
    const fields = Object.fromEntries(
      [...record.matchAll(/(\w+)=("[^"]*"|\S+)/g)].map(([, name, value]) => [name, value]),
    );
    const digest = createHash('sha256').update(record).digest('hex');
    remembered.set(next, JSON.parse(JSON.stringify({ ...fields, digest })) as object);
    remembered.delete(next - REMEMBERED_AT_MOST);
    next += 1;
  }
}

read(2 * REMEMBERED_AT_MOST);
process.on('message', (count: number) => read(count));
process.on('disconnect', () => process.exit());
process.send?.('ready');
