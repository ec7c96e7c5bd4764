import { writeSync } from 'node:fs';
import { systemClock } from '../../src/base/clock.ts';
import { messageOf } from '../../src/base/errors.ts';
import { createLog } from '../../src/base/log.ts';
import { Reader } from '../../src/base/reader/reader.ts';
import { Hardware } from '../../src/linux/machine/hardware/hardware.ts';

/* Lists the hardware, and writes how that went wrong, as JSON. Argument: a folder that looks like a sysfs. */

const [, , sys = ''] = process.argv;
const reader = new Reader({ clock: systemClock, log: createLog({ level: 'silent' }) });
const hardware = new Hardware({ hostRoot: '/', sys, reader, clock: systemClock });
const wrong = await hardware.devices(new AbortController().signal).then(() => 'nothing', messageOf);
writeSync(1, JSON.stringify({ wrong }));
process.exit(); // the child can't be waited for
