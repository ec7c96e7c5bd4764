import { readU16, readU32 } from '../../../../../src/agent/linux/native/byte-order.ts';

/**
 * Runs a classic BPF program as the kernel does, as far as socket-filter.ts makes any: how many bytes of a datagram stay.
 * Throws when it isn't one that the kernel would take. Source: bpf_check_classic() and ___bpf_prog_run().
 */
export function runFilter(program: Buffer, datagram: Buffer): number {
  let accumulator = 0;
  let aside = 0;
  for (let at = 0; ; ) {
    if (at + 8 > program.length) throw new Error('it runs beyond its end');
    const [code, ifTrue, ifFalse] = [readU16(program, at), program[at + 2] ?? 0, program[at + 3] ?? 0];
    const constant = readU32(program, at + 4);
    at += 8;
    switch (code) {
      case 0x20:
        if (constant + 4 > datagram.length) return 0;
        accumulator = datagram.readUInt32BE(constant);
        break;
      case 0x07:
        aside = accumulator;
        break;
      case 0x15:
        at += 8 * (accumulator === constant ? ifTrue : ifFalse);
        break;
      case 0x1d:
        at += 8 * (accumulator === aside ? ifTrue : ifFalse);
        break;
      case 0x06:
        return constant;
      default:
        throw new Error(`no such instruction: ${code}`);
    }
  }
}
