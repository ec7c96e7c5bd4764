/* Writes one record to a login file by the C library:
 *
 *     utmp FILE TYPE PID LINE USER HOST ADDRESS
 *
 * and prints the size of a record in bytes. ADDRESS is an IP address, or "-". */

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <utmp.h>

int main(int argc, char **argv)
{
	struct utmp record;
	struct timeval now;

	if (argc != 8)
		return 2;
	memset(&record, 0, sizeof record);
	gettimeofday(&now, NULL);
	record.ut_type = atoi(argv[2]);
	record.ut_pid = atoi(argv[3]);
	strncpy(record.ut_line, argv[4], sizeof record.ut_line);
	strncpy(record.ut_user, argv[5], sizeof record.ut_user);
	strncpy(record.ut_host, argv[6], sizeof record.ut_host);
	record.ut_tv.tv_sec = now.tv_sec;
	record.ut_tv.tv_usec = now.tv_usec;
	if (inet_pton(AF_INET, argv[7], record.ut_addr_v6) != 1)
		inet_pton(AF_INET6, argv[7], record.ut_addr_v6);
	updwtmp(argv[1], &record);
	printf("%zu\n", sizeof record);
	return 0;
}
