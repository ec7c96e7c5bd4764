import { ownerOfId } from './owner.ts';

/**
 * The class of a listening port: its owner, and whether it is reachable from outside. The rows of one class can be
 * complete while another class's are not, so that a user who opens many ports hides only their own.
 */
export const portClass = (isLoopback: boolean, userId: number): string =>
  `${isLoopback ? 'loopback' : 'outside'} ${ownerOfId(userId)}`;
