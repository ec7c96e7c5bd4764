import { appendFileSync } from 'node:fs';
import { USER_RECORDS } from '../../../src/agent/linux/audit/event.ts';
import { NLM_F_REQUEST } from '../../../src/agent/linux/native/netlink/message.ts';
import { NETLINK_AUDIT, openNetlink } from '../../../src/agent/linux/native/netlink/socket.ts';
import { systemClock } from '../../../src/core/base/clock.ts';
import { utmpRecord } from '../../agent/linux/logins/files.ts';

const FROM = '192.0.2.7';
const RECORD = { login: 7, logout: 8 } as const; // USER_PROCESS and DEAD_PROCESS, see utmp(5)

/** Records that this user has logged in at this terminal, such as `pts/3`, and out again. */
export type RecordSession = (user: string, terminal: string) => void;

/** @param clockShift the device's clock less this machine's, in milliseconds */
export function inLoginFile(file: string, clockShift: () => number): RecordSession {
  return (user, line) => {
    const session = { line, pid: process.pid, time: systemClock.now().getTime() + clockShift() };
    appendFileSync(file, utmpRecord({ ...session, user, type: RECORD.login, host: FROM }));
    appendFileSync(file, utmpRecord({ ...session, user: '', type: RECORD.logout }));
  };
}

/**
 * Like sshd without PAM, see audit_log_acct_message(3). The kernel overwrites the last byte with the string's
 * terminator (audit_receive_msg()). Needs CAP_AUDIT_WRITE.
 */
export function byAudit(): RecordSession {
  return (user, terminal) => {
    const words = `acct="${user}" exe="/usr/sbin/sshd" hostname=${FROM} addr=${FROM} terminal=/dev/${terminal} res=success\0`;
    const socket = openNetlink(NETLINK_AUDIT);
    try {
      socket.send(USER_RECORDS.USER_LOGIN, NLM_F_REQUEST, Buffer.from(`op=login ${words}`));
      socket.send(USER_RECORDS.USER_LOGOUT, NLM_F_REQUEST, Buffer.from(`op=login ${words}`));
    } finally {
      socket.close();
    }
  };
}
