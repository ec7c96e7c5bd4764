import { accounts } from './accounts.ts';
import { audit } from './audit.ts';
import { config } from './config.ts';
import { file } from './file.ts';
import { firewall } from './firewall.ts';
import { fswalk } from './fswalk.ts';
import { kernel } from './kernel.ts';
import { kmod } from './kmod.ts';
import { lines } from './lines.ts';
import { mount } from './mount.ts';
import { net } from './net.ts';
import { packages } from './package.ts';
import { pam } from './pam.ts';
import { service } from './service.ts';
import { sudoers } from './sudoers.ts';
import { sysctl } from './sysctl.ts';

/** All primitives. Add new ones here. */
export const primitives = [
  file,
  config,
  sysctl,
  packages,
  service,
  accounts,
  mount,
  lines,
  pam,
  net,
  kmod,
  kernel,
  audit,
  fswalk,
  sudoers,
  firewall,
] as const;
