# A client in Perl, without dependencies, for a server's unix path: perl client.pl PATH. It speaks the JSON wire as
# wire/PROTOCOL.md has it, and as AnyEvent::Task does: no newlines, silent connections in advance. It prints what
# Test::More prints.
use strict;
use warnings;
use IO::Socket::UNIX;
use JSON::PP;
use Test::More;

my $path = shift or die "usage: $0 PATH\n";
my $json = JSON::PP->new->utf8->allow_nonref;

sub dial { IO::Socket::UNIX->new(Peer => $path) or die "connect $path: $!\n" }

# reply reads one message. What was read beyond it stays for the next time.
my %rest;

sub reply {
    my ($c) = @_;
    my $parser = $rest{$c} ||= JSON::PP->new->utf8;
    while (1) {
        my $message = eval { $parser->incr_parse };
        return $message if $message;
        my $n = sysread $c, my $buf, 4096;
        return undef unless $n;
        $parser->incr_parse($buf);
    }
}

sub call {
    my ($c, @call) = @_;
    syswrite $c, $json->encode(['do', {}, @call]);
    return reply($c);
}

my @silent = (dial(), dial());

my $c = dial();
is_deeply(call($c, 'echo', 1, [2], { three => 3 }), ['ok', {}, [1, [2], { three => 3 }]], 'a call by method');
is_deeply(call($c, 7, 'x'), ['ok', {}, [7, 'x']], 'as code reference: a number first');
is_deeply(call($c, [1, 2]), ['ok', {}, [[1, 2]]], 'an array first');
is_deeply(call($c, { a => undef }), ['ok', {}, [{ a => undef }]], 'an object first');
is_deeply(call($c, undef), ['ok', {}, [undef]], 'null first');
is_deeply(call($c, JSON::PP::true), ['ok', {}, [JSON::PP::true]], 'a boolean first');
is_deeply(call($c), ['ok', {}, []], 'no argument at all');
is_deeply(call($c, 'some_method', 1), ['ok', {}, ['some_method', 1]], 'a method that only HandleAny has');
my $big = 'λ' x 100_000;
is(call($c, 'echo', $big)->[2][0], $big, 'a large argument');

my $er = call($c, 'die', 'first');
is($er->[0], 'er', 'an error');
is($er->[2], "ouch: first\n", 'its message');
is_deeply(call($c, 'counter'), ['ok', {}, 101], 'the worker lives on');
is(call($c, 'code')->[0], 'er', 'a result that can not be encoded is an error');

my $logged = call($c, 'log');
my $ld = $logged->[1]{ld};
is_deeply([map { [@$_[1 .. $#$_]] } @{ $ld->{logs} }], [[30, 'hello from worker', { k => 'v' }], [20, 'careful']], 'log records');
cmp_ok(abs($ld->{start} - time), '<', 60, 'their start is now');
is($ld->{timers}[0][0], 'junk', 'a timer');
cmp_ok($ld->{timers}[0][2], '>=', $ld->{timers}[0][1], 'it ends after its begin');
is(call($c, 'logdie')->[1]{ld}{logs}[0][2], 'something weird', 'log records with an error');

my $before = call($c, 'done_count')->[2];
syswrite $c, '["dn",{}]["do",{},"done_count"]';
is(reply($c)->[2], $before + 1, 'dn runs CheckoutDone; the next call may follow at once');

syswrite $c, join '', map { $json->encode(['do', {}, 'echo', $_]) } 1 .. 3;
is_deeply([map { reply($c)->[2][0] } 1 .. 3], [1, 2, 3], 'calls in one breath are answered in order');

my $d = dial();
is_deeply(call($d, 'counter'), ['ok', {}, 101], 'another connection is another worker');
is(call($d, 'exit'), undef, 'a worker that ends closes its connection');
is_deeply(call($c, 'counter'), ['ok', {}, 102], 'which hurts nobody else');
is_deeply(call($_, 'counter'), ['ok', {}, 101], 'a connection that was silent so far') for @silent;

done_testing();
