# A server in Perl, without dependencies: perl server.pl PATH. It does what AnyEvent::Task::Server does: a process for
# each connection, JSON without newlines, setup at the first call. interface.pl has what it does.
use strict;
use warnings;
use FindBin;
use IO::Socket::UNIX;
use JSON::PP;
use POSIX ();
use Time::HiRes ();

our $log; # the call's

sub note { push @{ $log->{logs} }, [Time::HiRes::time() - $log->{start}, @_] }
sub timed { push @{ $log->{timers} }, [$_[0], 0, 0.25] }

my $path = shift or die "usage: $0 PATH\n";
my %service = %{ do "$FindBin::Bin/interface.pl" or die $@ || $! };
my $json = JSON::PP->new->utf8->allow_nonref;

$SIG{CHLD} = 'IGNORE';
my $listener = IO::Socket::UNIX->new(Local => $path, Listen => 100) or die "listen on $path: $!\n";
$| = 1;
print "listening\n";
while (1) {
    my $c = $listener->accept or next;
    my $pid = fork;
    if (defined $pid && $pid == 0) {
        close $listener;
        worker($c);
        POSIX::_exit(0);
    }
    close $c;
}

sub worker {
    my ($c) = @_;
    my ($parser, $set_up) = (JSON::PP->new->utf8, 0);
    while (1) {
        return unless sysread $c, my $buf, 4096;
        $parser->incr_parse($buf);
        while (my $message = eval { $parser->incr_parse }) {
            my ($kind, $meta, @call) = @$message;
            if ($kind eq 'dn') {
                $service{checkout_done}->();
                next;
            }
            local $log = { start => Time::HiRes::time() };
            my $result = eval {
                $service{setup}->(), $set_up = 1 unless $set_up;
                $service{interface}->(@call);
            };
            my $error = $@;
            $error = "setup exception: $error" if $error && !$set_up;
            my $reply = $error ? ['er', {}, $error] : ['ok', {}, $result];
            $reply->[1]{ld} = $log if keys %$log > 1;
            my $text = eval { $json->encode($reply) } || $json->encode(['er', {}, "error JSON encoding interface output: $@"]);
            while (length $text) {
                my $n = syswrite $c, $text or return;
                substr $text, 0, $n, '';
            }
        }
    }
}
