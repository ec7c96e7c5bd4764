import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { takeLock } from './machine-lock.mjs';

/** Tests that start the program that is shipped. */
export const USES_SHIPPED_PROGRAM = /^(?:agent\/commands|emulator|harness|installed|integration|system)\//;

/** Mostly wait: for agents, for time limits, for ports that do not answer. The others only compute. */
export const WAITS = /^(?:agent\/commands|emulator\/page|harness|integration|kql|scripts|system)\//;

/** Compiled tests below a folder. */
export const testsIn = (folder) =>
  readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.test.js'))
    .sort();

const sourceOf = (file) => readFileSync(join('dist/test', file), 'utf8');

/** Whether all tests of the file are for releases only. */
export function isForRelease(file) {
  const suites = sourceOf(file).match(/^describe\(.*$/gm) ?? [];
  return suites.length > 0 && suites.every((line) => line.includes('@release'));
}

/** Whether it is the audit daemon of the kernel, which has one. */
export const usesAudit = (file) => /^(?:harness|system)\//.test(file) && /missing-for-audit/.test(sourceOf(file));

const SETPRIV = '/usr/bin/setpriv';
const CAP_AUDIT_CONTROL = 1n << 30n;

/** What a command is called through so that it has no audit: nothing if it cannot have it anyway. */
export function withoutAudit() {
  const [, bounding = '0'] = /^CapBnd:\s*(\w+)$/m.exec(readFileSync('/proc/self/status', 'utf8')) ?? [];
  const mayHave = process.getuid?.() === 0 && (BigInt(`0x${bounding}`) & CAP_AUDIT_CONTROL) !== 0n;
  return mayHave && existsSync(SETPRIV) ? [SETPRIV, '--bounding-set=-audit_control,-audit_read'] : [];
}

/**
 * Waits until no other test run of this machine uses the kernel's audit, and keeps it until this process ends, or
 * the returned function is called.
 */
export const lockAudit = () =>
  takeLock('test audit', () =>
    console.log("Waiting for another test run, which uses the kernel's audit; this machine has one."),
  );
