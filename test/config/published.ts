import { collectors } from '../../src/collectors/index.ts';
import { namesOf } from '../../src/config/dialect.ts';
import { PUBLISHED_OBJECT, publishedObject } from '../../src/config/published-object.ts';
import { settingRows } from '../../src/contract/settings.ts';

/* How the module twin of this agent writes settings, for tests. */

export const publishedDialect = (objectName: string = PUBLISHED_OBJECT) =>
  publishedObject(settingRows(collectors), objectName);

/** Every property, in the order of the docs. */
export const properties = publishedDialect().properties;
export const nameOf = namesOf(properties);
