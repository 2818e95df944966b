/* Verifies or signs a file of messages with libopendkim and prints the CPU time it took, or
 * signs them and writes the DKIM-Signature fields, one after another, ended by a zero octet.
 *
 * cc -O2 -o opendkim_speed opendkim_speed.c -lopendkim
 * opendkim_speed verify MAILS RECORD | opendkim_speed sign|sign-ed25519|fields MAILS KEY.pem
 *
 * MAILS: for each message its length as eight octets, the lowest first, then its octets.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <time.h>
#include <opendkim/dkim.h>

static char *record;

static DKIM_STAT lookup(DKIM *dkim, DKIM_SIGINFO *sig, unsigned char *buf, size_t len)
{
	snprintf((char *)buf, len, "%s", record);
	return DKIM_STAT_OK;
}

static char *slurp(const char *path, size_t *len)
{
	FILE *file = fopen(path, "rb");
	if (file == NULL) {
		perror(path);
		exit(2);
	}
	fseek(file, 0, SEEK_END);
	*len = (size_t)ftell(file);
	rewind(file);
	char *text = malloc(*len + 1);
	if (fread(text, 1, *len, file) != *len)
		exit(2);
	text[*len] = '\0';
	fclose(file);
	return text;
}

int main(int argc, char **argv)
{
	size_t mails_len, other_len;
	if (argc != 4)
		return 2;
	int fields = strcmp(argv[1], "fields") == 0;
	int ed25519 = strcmp(argv[1], "sign-ed25519") == 0;
	int signing = fields || ed25519 || strcmp(argv[1], "sign") == 0;
	char *mails = slurp(argv[2], &mails_len);
	record = slurp(argv[3], &other_len);
	record[strcspn(record, signing ? "" : "\n")] = '\0';
	DKIM_LIB *lib = dkim_init(NULL, NULL);
	dkim_set_key_lookup(lib, lookup);
	uint64_t moment = 1767225600;
	if (fields)
		dkim_options(lib, DKIM_OP_SETOPT, DKIM_OPTS_FIXEDTIME, &moment, sizeof moment);
	long good = 0, bad = 0;
	clock_t start = clock();
	for (size_t at = 0; at + 8 <= mails_len;) {
		uint64_t len = 0;
		for (int i = 7; i >= 0; i--)
			len = len << 8 | (unsigned char)mails[at + (size_t)i];
		at += 8;
		DKIM_STAT status;
		DKIM *dkim = signing
			? dkim_sign(lib, (unsigned char *)"id", NULL, (dkim_sigkey_t)record,
				    (unsigned char *)"s", (unsigned char *)"a.example",
				    fields && (good & 1) ? DKIM_CANON_SIMPLE : DKIM_CANON_RELAXED,
				    fields && (good & 2) ? DKIM_CANON_SIMPLE : DKIM_CANON_RELAXED,
				    ed25519 ? DKIM_SIGN_ED25519SHA256 : DKIM_SIGN_RSASHA256, -1, &status)
			: dkim_verify(lib, (unsigned char *)"id", NULL, &status);
		if (dkim == NULL) {
			fprintf(stderr, "no handle: %d\n", status);
			return 2;
		}
		status = dkim_chunk(dkim, (unsigned char *)mails + at, len);
		if (status == DKIM_STAT_OK)
			status = dkim_chunk(dkim, NULL, 0);
		if (status == DKIM_STAT_OK)
			status = dkim_eom(dkim, NULL);
		if (status == DKIM_STAT_OK && signing) {
			unsigned char field[4096];
			status = dkim_getsighdr(dkim, field, sizeof field, 16);
			if (fields && status == DKIM_STAT_OK)
				printf("DKIM-Signature: %s%c", field, 0);
		}
		if (status == DKIM_STAT_OK)
			good++;
		else
			bad++;
		dkim_free(dkim);
		at += len;
	}
	double cpu = (double)(clock() - start) / CLOCKS_PER_SEC;
	if (fields)
		return bad != 0;
	printf("%.6f %ld %ld\n", cpu, good, bad);
	dkim_close(lib);
	return 0;
}
