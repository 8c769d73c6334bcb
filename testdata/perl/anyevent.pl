# The real AnyEvent::Task::Server, where it is installed: perl anyevent.pl PATH. interface.pl has what it does.
use strict;
use warnings;
use FindBin;
use POSIX ();
use AnyEvent::Task::Logger;
use AnyEvent::Task::Server;

my $path = shift or die "usage: $0 PATH\n";
my %service = %{ do "$FindBin::Bin/interface.pl" or die $@ || $! };

sub note { my ($level, @what) = @_; logger->add_log($level, @what) }
sub timed { my $timer = logger->timer($_[0]) }

my $server = AnyEvent::Task::Server->new(listen => ['unix/', $path], %service);
$| = 1;
print "listening\n";
$server->run;
